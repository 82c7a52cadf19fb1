# Tables, figures and the report, drawn from whatever models and tasks the study has. What each rule reads and writes is
# in src/offcourse/jobs/drawings.py.


rule table3:
    input:
        read_by("table3"),
    output:
        drawn("table3"),
        record=record("table3"),
    log:
        study_log("table3"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("table3"),
        settings=settings("table3"),
    script:
        "../workflow/scripts/table3.py"


rule tables_dola:
    input:
        read_by("tables_dola"),
    output:
        drawn("tables_dola"),
        record=record("tables_dola"),
    log:
        study_log("tables_dola"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("tables_dola"),
        settings=settings("tables_dola"),
    script:
        "../workflow/scripts/tables_dola.py"


rule figure_sweep:
    input:
        read_by("figure_sweep", "{model}"),
    output:
        drawn("figure_sweep", "{model}"),
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
        drawn("figure_cie", "{model}"),
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
        drawn("figure_shots"),
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
        drawn("figure_choices"),
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
        drawn("figure_task_vectors", "{model}"),
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
            drawn("figure_post_training"),
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
        drawn("figure_lens"),
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
        drawn("figure_apathy"),
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


rule steering:
    input:
        read_by("steering"),
    output:
        drawn("steering"),
        record=record("steering"),
    log:
        study_log("steering"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("steering"),
        settings=settings("steering"),
    script:
        "../workflow/scripts/steering.py"


rule report:
    input:
        presented(),
        facts(),
    output:
        RESULTS / "report.html",
        record=record("report"),
    log:
        study_log("report"),
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("report"),
        settings=settings("report"),
    script:
        "../workflow/scripts/report.py"
