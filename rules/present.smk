# Tables, figures and the report, drawn from whatever models and tasks the study has.


def pictures(*numbers, model=None):
    """SVG, PNG and numbers of some figures, of one model or of all."""
    pages = [page for page in contents.figures(STUDY.models, STUDY.tasks) if page["figure"] in numbers]
    stems = [Path(page["svg"]).with_suffix("") for page in pages if model in (None, page["model"])]
    return [RESULTS / f"{stem}{suffix}" for stem in stems for suffix in (".svg", ".png", ".parquet")]


def pages_of_model(figure):
    """The same with the model left as a wildcard."""
    first = STUDY.models[0]
    return [str(path).replace(f"{first}", "{model}") for path in pictures(figure, model=first)]


def report_template():
    return CHECKOUT / "src" / "offcourse" / "present" / "report.html.j2"


def facts():
    return [RESULTS / model / "model.json" for model in STUDY.models]


rule table3:
    input:
        of_every_model("icl"),
        of_every_model("fv_sweep"),
        facts(),
    output:
        multiext(str(RESULTS / "tables" / "table3"), ".parquet", ".csv", ".md", ".tex"),
    log:
        f"results/{STUDY.study}/logs/table3.log",
    params:
        code=fingerprint("offcourse.present.tables:table3"),
        default_heads=STUDY.protocol.default_heads,
    script:
        "../workflow/scripts/table3.py"


rule figure_sweep:
    input:
        shards("icl"),
        shards("fv_sweep"),
        RESULTS / "{model}" / "model.json",
    output:
        pages_of_model("figure17"),
    log:
        job_log("figure17"),
    params:
        code=fingerprint("offcourse.present.figure_sweep:draw"),
    script:
        "../workflow/scripts/figure_sweep.py"


rule figure_cie:
    input:
        shards("cie"),
        RESULTS / "{model}" / "model.json",
    output:
        pages_of_model("figure9"),
    log:
        job_log("figure9"),
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
    params:
        code=fingerprint("offcourse.present.figure_choices:draw"),
    script:
        "../workflow/scripts/figure_choices.py"


rule report:
    input:
        pictures(*{page["figure"] for page in contents.figures(STUDY.models, STUDY.tasks)}),
        rules.table3.output,
        facts(),
    output:
        RESULTS / "report.html",
    log:
        f"results/{STUDY.study}/logs/report.log",
    localrule: True
    params:
        code=fingerprint("offcourse.present.report:write"),
        # The template is no Python, so the fingerprint does not see it.
        template=sha256(report_template()),
        study=STUDY.model_dump_json(exclude={"resources"}),
    script:
        "../workflow/scripts/report.py"
