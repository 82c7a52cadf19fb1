# Tables, figures and the report, drawn from whatever models and tasks the study has.


rule table3:
    input:
        [of_every_model(step) for step in ("icl", "fv_sweep") if runs("function_vectors")],
        [of_every_model(step) for step in ("tv_icl", "tv_sweep") if runs("task_vectors")],
        facts(),
    output:
        multiext(str(RESULTS / "tables" / "table3"), ".parquet", ".csv", ".md", ".tex"),
    log:
        f"results/{STUDY.study}/logs/table3.log",
    conda:
        "../envs/offcourse.yaml"
    params:
        code=fingerprint("offcourse.present.tables:table3"),
        default_heads=STUDY.protocol.default_heads,
        n_heads=[STUDY.function_vectors.n_heads, STUDY.function_vectors.large and STUDY.function_vectors.large.n_heads],
        selection=STUDY.protocol.selection,
        task_vectors=[
            STUDY.protocol.tv_denominator,
            STUDY.protocol.tv_direction,
            STUDY.protocol.tv_score,
        ],
    script:
        "../workflow/scripts/table3.py"


rule figure_sweep:
    input:
        shards("icl"),
        shards("fv_sweep"),
        RESULTS / "{model}" / "model.json",
    output:
        pictures("figure17", model="{model}"),
    log:
        job_log("figure17"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=fingerprint("offcourse.present.figure_sweep:draw"),
    script:
        "../workflow/scripts/figure_sweep.py"


rule figure_cie:
    input:
        shards("cie"),
        RESULTS / "{model}" / "model.json",
    output:
        pictures("figure9", model="{model}"),
    log:
        job_log("figure9"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=fingerprint("offcourse.present.figure_cie:draw"),
    script:
        "../workflow/scripts/figure_cie.py"


rule figure_shots:
    input:
        of_every_model("icl"),
        facts(),
    output:
        pictures("figure11"),
    log:
        f"results/{STUDY.study}/logs/figure11.log",
    conda:
        "../envs/offcourse.yaml"
    params:
        code=fingerprint("offcourse.present.figure_shots:draw"),
    script:
        "../workflow/scripts/figure_shots.py"


rule figure_choices:
    input:
        of_every_model("icl"),
        of_every_model("fv_sweep"),
        facts(),
    output:
        pictures("figure13", "figure14", "figure15"),
    log:
        f"results/{STUDY.study}/logs/figure13-15.log",
    conda:
        "../envs/offcourse.yaml"
    params:
        code=fingerprint("offcourse.present.figure_choices:draw"),
    script:
        "../workflow/scripts/figure_choices.py"


rule figure_task_vectors:
    input:
        shards("tv_icl"),
        shards("tv_sweep"),
        RESULTS / "{model}" / "model.json",
    output:
        pictures("figure18", model="{model}"),
    log:
        job_log("figure18"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=fingerprint("offcourse.present.figure_task_vectors:draw"),
    script:
        "../workflow/scripts/figure_task_vectors.py"


if pictures("figure16"):

    rule figure_post_training:
        input:
            of_every_model("tv_icl"),
            of_every_model("tv_sweep"),
        output:
            pictures("figure16"),
        log:
            f"results/{STUDY.study}/logs/figure16.log",
        conda:
            "../envs/offcourse.yaml"
        params:
            code=fingerprint("offcourse.present.figure_post_training:draw"),
            tv_direction=STUDY.protocol.tv_direction,
        script:
            "../workflow/scripts/figure_post_training.py"


rule tables_dola:
    input:
        of_every_model("dola"),
        facts(),
    output:
        tables(1, 2, 4, 5, 6, 7, 8, 9, 10),
    log:
        f"results/{STUDY.study}/logs/tables_dola.log",
    conda:
        "../envs/offcourse.yaml"
    params:
        code=fingerprint("offcourse.present.tables_dola:write"),
        dola_mask=STUDY.protocol.dola_mask,
        ties=STUDY.protocol.ties,
        score_dtype=STUDY.protocol.score_dtype,
        selection=STUDY.protocol.selection,
    script:
        "../workflow/scripts/tables_dola.py"


rule figure_lens:
    input:
        of_every_model("logit_lens"),
        facts(),
    output:
        pictures("figure2"),
    log:
        f"results/{STUDY.study}/logs/figure2.log",
    conda:
        "../envs/offcourse.yaml"
    params:
        code=fingerprint("offcourse.present.figure_lens:draw"),
    script:
        "../workflow/scripts/figure_lens.py"


rule figure_apathy:
    input:
        of_every_model("logit_lens"),
        of_every_model("apathy"),
        facts(),
    output:
        pictures("figure8"),
    log:
        f"results/{STUDY.study}/logs/figure8.log",
    conda:
        "../envs/offcourse.yaml"
    params:
        code=fingerprint("offcourse.present.figure_apathy:draw"),
    script:
        "../workflow/scripts/figure_apathy.py"


rule report:
    input:
        presented(),
        facts(),
    output:
        RESULTS / "report.html",
    log:
        f"results/{STUDY.study}/logs/report.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=fingerprint("offcourse.present.report:write"),
        # The template is no Python, so the fingerprint does not see it.
        template=sha256(report_template()),
        study=STUDY.model_dump_json(exclude={"resources"}),
    script:
        "../workflow/scripts/report.py"
