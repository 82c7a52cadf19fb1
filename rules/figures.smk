# Figures, drawn from whatever models and tasks the study has. What each rule reads and writes is in
# src/offcourse/graph/products.py, captions for `snakemake --report` are in workflow/report/.


rule figure_overview:
    input:
        read_by("figure_overview"),
    output:
        shown("figure_overview"),
        record=record("figure_overview"),
    log:
        study_log("figure_overview"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("figure_overview"),
        settings=settings("figure_overview"),
    script:
        "../workflow/scripts/figure_overview.py"


rule figure_recovery:
    input:
        read_by("figure_recovery"),
    output:
        shown("figure_recovery"),
        record=record("figure_recovery"),
    log:
        study_log("figure_recovery"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("figure_recovery"),
        settings=settings("figure_recovery"),
    script:
        "../workflow/scripts/figure_recovery.py"


rule figure_heads:
    input:
        read_by("figure_heads"),
    output:
        shown("figure_heads"),
        record=record("figure_heads"),
    log:
        study_log("figure_heads"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("figure_heads"),
        settings=settings("figure_heads"),
    script:
        "../workflow/scripts/figure_heads.py"


rule figure_sweep:
    input:
        read_by("figure_sweep", "{model}"),
    output:
        shown("figure_sweep", "{model}"),
        record=record("figure_sweep", "{model}"),
    log:
        job_log("figure_sweep"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("figure_sweep"),
        settings=settings("figure_sweep"),
    script:
        "../workflow/scripts/figure_sweep.py"


rule figure_cie:
    input:
        read_by("figure_cie", "{model}"),
    output:
        shown("figure_cie", "{model}"),
        record=record("figure_cie", "{model}"),
    log:
        job_log("figure_cie"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("figure_cie"),
        settings=settings("figure_cie"),
    script:
        "../workflow/scripts/figure_cie.py"


rule figure_shots:
    input:
        read_by("figure_shots"),
    output:
        shown("figure_shots"),
        record=record("figure_shots"),
    log:
        study_log("figure_shots"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("figure_shots"),
        settings=settings("figure_shots"),
    script:
        "../workflow/scripts/figure_shots.py"


rule figure_choices:
    input:
        read_by("figure_choices"),
    output:
        shown("figure_choices"),
        record=record("figure_choices"),
    log:
        study_log("figure_choices"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("figure_choices"),
        settings=settings("figure_choices"),
    script:
        "../workflow/scripts/figure_choices.py"


rule figure_task_vectors:
    input:
        read_by("figure_task_vectors", "{model}"),
    output:
        shown("figure_task_vectors", "{model}"),
        record=record("figure_task_vectors", "{model}"),
    log:
        job_log("figure_task_vectors"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("figure_task_vectors"),
        settings=settings("figure_task_vectors"),
    script:
        "../workflow/scripts/figure_task_vectors.py"


if drawn("figure_post_training"):

    rule figure_post_training:
        input:
            read_by("figure_post_training"),
        output:
            shown("figure_post_training"),
            record=record("figure_post_training"),
        log:
            study_log("figure_post_training"),
        conda:
            "../envs/offcourse.yaml"
        params:
            code=code("figure_post_training"),
            settings=settings("figure_post_training"),
        script:
            "../workflow/scripts/figure_post_training.py"


rule figure_lens:
    input:
        read_by("figure_lens"),
    output:
        shown("figure_lens"),
        record=record("figure_lens"),
    log:
        study_log("figure_lens"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("figure_lens"),
        settings=settings("figure_lens"),
    script:
        "../workflow/scripts/figure_lens.py"


rule figure_apathy:
    input:
        read_by("figure_apathy"),
    output:
        shown("figure_apathy"),
        record=record("figure_apathy"),
    log:
        study_log("figure_apathy"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("figure_apathy"),
        settings=settings("figure_apathy"),
    script:
        "../workflow/scripts/figure_apathy.py"
