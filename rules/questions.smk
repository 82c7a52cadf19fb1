# Questions with true and false answers (paper sections 3): DoLa, and the logit lens with apathy.


rule dola:
    input:
        questions=release_questions(),
        model=RESULTS / "{model}/model.json",
    output:
        artefacts=each("dola", "{model}/dola/{questions}.parquet"),
        records=each("dola", "provenance/{model}/dola/{questions}.json"),
    log:
        RESULTS / "logs/dola/{model}.log",
    benchmark:
        RESULTS / "benchmarks/dola/{model}.tsv"
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
        "../workflow/scripts/step.py"


# Logit lens and apathy are measured in one pass, so they are one job.
rule readings:
    input:
        questions=release_questions(),
        model=RESULTS / "{model}/model.json",
    output:
        lens=each("logit_lens", "{model}/logit_lens/{questions}.parquet"),
        lens_records=each("logit_lens", "provenance/{model}/logit_lens/{questions}.json"),
        apathy=each("apathy", "{model}/apathy/{questions}.parquet"),
        apathy_records=each("apathy", "provenance/{model}/apathy/{questions}.json"),
    log:
        RESULTS / "logs/readings/{model}.log",
    benchmark:
        RESULTS / "benchmarks/readings/{model}.tsv"
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
        "../workflow/scripts/step.py"
