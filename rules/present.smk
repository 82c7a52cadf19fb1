# Tables and the report, drawn from whatever models and tasks the study has. What each rule reads and writes is in
# src/offcourse/graph/products.py, captions for `snakemake --report` are in workflow/report/.


rule table3:
    input:
        read_by("table3"),
    output:
        shown("table3"),
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
        shown("tables_dola"),
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


rule certainty:
    input:
        read_by("certainty"),
    output:
        shown("certainty"),
        record=record("certainty"),
    log:
        study_log("certainty"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("certainty"),
        settings=settings("certainty"),
    script:
        "../workflow/scripts/certainty.py"


rule steering_summary:
    input:
        read_by("steering_summary"),
    output:
        shown("steering_summary"),
        record=record("steering_summary"),
    log:
        study_log("steering_summary"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("steering_summary"),
        settings=settings("steering_summary"),
    script:
        "../workflow/scripts/steering_summary.py"


rule sensitivity:
    input:
        read_by("sensitivity"),
    output:
        shown("sensitivity"),
        record=record("sensitivity"),
    log:
        study_log("sensitivity"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("sensitivity"),
        settings=settings("sensitivity"),
    script:
        "../workflow/scripts/sensitivity.py"


rule tables_facts:
    input:
        read_by("tables_facts"),
    output:
        shown("tables_facts"),
        record=record("tables_facts"),
    log:
        study_log("tables_facts"),
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("tables_facts"),
        settings=settings("tables_facts"),
    script:
        "../workflow/scripts/tables_facts.py"


rule report:
    input:
        presented(),
        model_files(),
        released=released_tables(),
    output:
        shown("report"),
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
