# Models: from their source to a prepared folder, and to facts that were checked on the loaded model.


# The row of the registry and the pinned sha256 alone decide: editing the code that downloads fetches nothing again.
# The output is the study's copy of the manifest. The folder is no output, because it belongs to all studies: Snakemake
# removes outputs before a job and with --delete-all-output.
rule prepare_model:
    input:
        # No file: whatever is asked of a study comes to this rule, so that what is damaged is looked for in every run.
        mended,
    output:
        LAYOUT.receipt("{model}"),
    log:
        RESULTS / "logs/prepare_model/{model}.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        model=reads("prompts", "model"),
    script:
        "../workflow/scripts/prepare_model.py"


# Waits for every model of the study, so that a model that cannot be fetched stops the run before anything is computed.
rule check_model:
    input:
        manifests=waited_for,
    output:
        RESULTS / "{model}/model.json",
        record=RESULTS / "provenance/{model}/check_model.json",
    log:
        RESULTS / "logs/check_model/{model}.log",
    benchmark:
        RESULTS / "benchmarks/check_model/{model}.tsv"
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
