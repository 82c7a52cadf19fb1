# Questions with true and false answers (paper sections 3): DoLa, and the logit lens with apathy.


rule fetch_questions:
    output:
        release_questions(),
    log:
        f"results/{STUDY.study}/logs/fetch_questions.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    script:
        "../workflow/scripts/fetch_questions.py"


rule dola:
    input:
        questions=release_questions(),
        model=RESULTS / "{model}" / "model.json",
    output:
        artefacts=shards("dola"),
        records=records("dola"),
    log:
        job_log("dola"),
    benchmark:
        job_benchmark("dola")
    priority: 10
    group:
        GROUP
    conda:
        "../envs/offcourse.yaml"
    threads: threads("dola")
    resources:
        **asks("dola"),
    params:
        code=reads("dola", "code"),
        parameters=reads("dola", "parameters"),
        questions=reads("dola", "words"),
        model=reads("dola", "model"),
        numerics=reads("dola", "numerics"),
    script:
        "../workflow/scripts/dola.py"


# Both are measured in one pass, so they are one job.
rule readings:
    input:
        questions=release_questions(),
        model=RESULTS / "{model}" / "model.json",
    output:
        lens=shards("logit_lens"),
        lens_records=records("logit_lens"),
        apathy=shards("apathy"),
        apathy_records=records("apathy"),
    log:
        job_log("readings"),
    benchmark:
        job_benchmark("readings")
    group:
        GROUP
    conda:
        "../envs/offcourse.yaml"
    threads: threads("readings")
    resources:
        **asks("readings"),
    params:
        lens=reads("logit_lens", "code"),
        apathy=reads("apathy", "code"),
        parameters=reads("logit_lens", "parameters"),
        questions=reads("logit_lens", "words"),
        model=reads("logit_lens", "model"),
        numerics=reads("logit_lens", "numerics"),
    script:
        "../workflow/scripts/readings.py"
