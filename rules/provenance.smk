# The run as a Workflow Run RO-Crate: tables, figures, report, records, and what made them.


rule ro_crate:
    input:
        report=RESULTS / "report.html",
        shown=presented(),
        facts=model_files(),
        records=records_of(STUDY, REGISTRY, LAYOUT),
    output:
        drawn("ro_crate"),
        record=record("ro_crate"),
    log:
        study_log("ro_crate"),
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("ro_crate"),
        settings=settings("ro_crate"),
    script:
        "../workflow/scripts/ro_crate.py"
