# Tables, figures, the report and the RO-Crate, from whatever models and tasks the study has.

# Tables and figures differ in their declarations alone: src/offcourse/graph/products.py says what each reads and writes.
# Captions for `snakemake --report` are in workflow/report/.
for product in PRODUCTS.values():
    model = "{model}" if product.per_model else None
    if product.rule in UNSHOWN or not drawn(product.rule, model):
        continue

    rule:
        name:
            product.rule
        input:
            read_by(product.rule, model),
        output:
            shown(product.rule, model),
            record=record(product.rule, model),
        log:
            RESULTS / "logs" / (f"{product.rule}/{model}.log" if model else f"{product.rule}.log"),
        group:
            None if product.local else SHOWN_GROUP
        localrule: product.local
        conda:
            "../envs/offcourse.yaml"
        resources:
            **({} if product.local else asks_to_show()),
        params:
            code=code(product.rule),
            settings=settings(product.rule),
        script:
            "../workflow/scripts/product.py"


rule report:
    input:
        presented(),
        model_files(),
    output:
        shown("report"),
        record=record("report"),
    log:
        RESULTS / "logs/report.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("report"),
        settings=settings("report"),
    script:
        "../workflow/scripts/report.py"


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
        RESULTS / "logs/ro_crate.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("ro_crate"),
        settings=settings("ro_crate"),
    script:
        "../workflow/scripts/ro_crate.py"
