# Models: from their source to a prepared folder, and to facts that were checked on the loaded model.


# The row of the registry and the pinned sha256 alone decide: editing the code that downloads fetches nothing again.
rule prepare_model:
    output:
        LAYOUT.downloads / "models" / "{model}" / "manifest.json",
    log:
        job_log("prepare_model"),
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        model=reads("prompts", "model"),
    script:
        "../workflow/scripts/prepare_model.py"


# Waits for every model of the study, so that one that cannot be had stops the run before anything is computed.
rule check_model:
    input:
        manifests=waited_for,
    output:
        RESULTS / "{model}" / "model.json",
        record=record("check_model", "{model}"),
    log:
        job_log("check_model"),
    benchmark:
        job_benchmark("check_model")
    group:
        GROUP
    conda:
        "../envs/offcourse.yaml"
    threads: threads("check_model")
    resources:
        **asks("check_model"),
    params:
        code=code("check_model"),
        model=reads("prompts", "model"),
        settings=settings("check_model"),
    script:
        "../workflow/scripts/check_model.py"
