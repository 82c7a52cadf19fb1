# The authors' released results, below results/published and shared by all studies: their conversion, their tables,
# figures and report. Not part of a study; `make published`.


rule published_store:
    input:
        released_and_recorded(*CONVERTED),


rule published:
    input:
        released_and_recorded(*CONVERTED),
        of_release("published_comparison"),
        [of_release(name) for name in TABLES],
        [of_release(name) for name in FIGURES],
        of_release("published_report"),


rule fetch_release:
    output:
        fetched(LAYOUT.downloads),
    log:
        PUBLISHED / "logs/fetch_release.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        manifest=sha256(RESOURCES / MANIFEST),
    script:
        "../workflow/scripts/fetch_release.py"


# One rule for each group of released results: published_function_vectors, published_task_vectors, published_dola,
# published_readings and published_cie.
for group in CONVERTED:

    rule:
        name:
            f"published_{group}"
        input:
            fetched(LAYOUT.downloads) if ORIGINAL else [],
        output:
            PUBLISHED_FILES[group],
        log:
            PUBLISHED / f"logs/published_{group}.log",
        # All else reads them.
        priority: 20
        conda:
            "../envs/offcourse.yaml"
        # Unpacking takes seconds, and the start of Python takes most of them.
        threads: 2 if ORIGINAL else 1
        params:
            code=code_of_release(f"published_{group}"),
            original=ORIGINAL,
            packed="" if ORIGINAL else sha256(packed.folder() / packed.DIGESTS),
        script:
            "../workflow/scripts/convert_release.py"


rule published_models:
    input:
        RESOURCES / "models.tsv",
    output:
        of_release("published_models"),
        record=PUBLISHED / "provenance/published_models.json",
    log:
        PUBLISHED / "logs/published_models.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("published_models"),
    script:
        "../workflow/scripts/published.py"


# Tables of a study that the release has as well (`released=True` in src/offcourse/graph/products.py).
for name, product in TABLES.items():

    rule:
        name:
            name
        input:
            released(*groups_of(product)),
            of_release("published_models"),
        output:
            of_release(name),
            record=PUBLISHED / f"provenance/{name}.json",
        log:
            PUBLISHED / f"logs/{name}.log",
        localrule: product.local
        conda:
            "../envs/offcourse.yaml"
        params:
            code=code_of_release(name),
            settings=read_of_release(name),
        script:
            "../workflow/scripts/published.py"


# The figures, a rule for those that read the same results (`FIGURES` in src/offcourse/graph/release_rules.py).
for name, products in FIGURES.items():

    rule:
        name:
            name
        input:
            released(*groups_of(*products)),
            of_release("published_models"),
        output:
            of_release(name),
            record=PUBLISHED / f"provenance/{name}.json",
        log:
            PUBLISHED / f"logs/{name}.log",
        # They take longest.
        priority: 10
        conda:
            "../envs/offcourse.yaml"
        params:
            code=code_of_release(name),
        script:
            "../workflow/scripts/published.py"


# Pages of the sweep that the paper does not show: snakemake results/published/figures/figure17/llama-7b_antonym.svg
rule published_sweep_page:
    input:
        released("function_vectors"),
        of_release("published_models"),
    output:
        multiext(f"results/{NAME}/figures/figure17/{{page}}", ".svg", ".png", ".parquet"),
        record=f"results/{NAME}/provenance/{{page}}/published_sweep_page.json",
    log:
        f"results/{NAME}/logs/published_sweep_page/{{page}}.log",
    wildcard_constraints:
        page="(?!" + "|".join("_".join(page) for page in SWEEP_PAGES) + ")[^/]+",
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("published_sweep_page"),
    script:
        "../workflow/scripts/published_sweep_page.py"


rule published_report:
    input:
        of_release("published_comparison"),
        [of_release(name) for name in TABLES],
        [of_release(name) for name in FIGURES],
    output:
        of_release("published_report"),
        record=PUBLISHED / "provenance/published_report.json",
    log:
        PUBLISHED / "logs/published_report.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("published_report"),
        settings=read_of_release("published_report"),
    script:
        "../workflow/scripts/published.py"


rule published_comparison:
    input:
        of_release("published_table3"),
        of_release("published_tables_dola"),
    output:
        of_release("published_comparison"),
        record=PUBLISHED / "provenance/published_comparison.json",
    log:
        PUBLISHED / "logs/published_comparison.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("published_comparison"),
    script:
        "../workflow/scripts/published.py"
