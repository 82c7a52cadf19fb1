# Tables and figures of the authors' release, and their comparison with the printed ones and a study's.


rule published:
    input:
        of_release("published_comparison"),
        of_release("published_tables_facts"),
        of_release("published_figures"),
        of_release("published_report"),


rule published_models:
    input:
        RESOURCES / "models.tsv",
    output:
        of_release("published_models"),
        record=f"results/{NAME}/provenance/published_models.json",
    log:
        f"results/{NAME}/logs/published_models.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("published_models"),
    script:
        "../workflow/scripts/published_models.py"


rule published_table3:
    input:
        released("function_vectors", "task_vectors"),
        of_release("published_models"),
    output:
        of_release("published_table3"),
        record=f"results/{NAME}/provenance/published_table3.json",
    log:
        f"results/{NAME}/logs/published_table3.log",
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("published_table3"),
    script:
        "../workflow/scripts/published_table3.py"


rule published_tables_dola:
    input:
        released("dola"),
        of_release("published_models"),
    output:
        of_release("published_tables_dola"),
        record=f"results/{NAME}/provenance/published_tables_dola.json",
    log:
        f"results/{NAME}/logs/published_tables_dola.log",
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("published_tables_dola"),
    script:
        "../workflow/scripts/published_tables_dola.py"


rule published_tables_facts:
    input:
        of_release("published_models"),
    output:
        of_release("published_tables_facts"),
        record=f"results/{NAME}/provenance/published_tables_facts.json",
    log:
        f"results/{NAME}/logs/published_tables_facts.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("published_tables_facts"),
    script:
        "../workflow/scripts/published_tables_facts.py"


rule published_figures:
    input:
        released("function_vectors", "task_vectors", "readings", "cie"),
        of_release("published_models"),
    output:
        of_release("published_figures"),
        record=f"results/{NAME}/provenance/published_figures.json",
    log:
        f"results/{NAME}/logs/published_figures.log",
    conda:
        "../envs/offcourse.yaml"
    threads: 2
    params:
        code=code_of_release("published_figures"),
    script:
        "../workflow/scripts/published_figures.py"


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


rule published_sensitivity:
    input:
        released(*CONVERTED),
        of_release("published_models"),
    output:
        of_release("published_sensitivity"),
        record=f"results/{NAME}/provenance/published_sensitivity.json",
    log:
        f"results/{NAME}/logs/published_sensitivity.log",
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("published_sensitivity"),
    script:
        "../workflow/scripts/published_sensitivity.py"


rule published_report:
    input:
        of_release("published_comparison"),
        of_release("published_tables_facts"),
        of_release("published_figures"),
        of_release("published_sensitivity"),
    output:
        of_release("published_report"),
        record=f"results/{NAME}/provenance/published_report.json",
    log:
        f"results/{NAME}/logs/published_report.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("published_report"),
    script:
        "../workflow/scripts/published_report.py"


rule published_comparison:
    input:
        of_release("published_table3"),
        of_release("published_tables_dola"),
    output:
        of_release("published_comparison"),
        record=f"results/{NAME}/provenance/published_comparison.json",
    log:
        f"results/{NAME}/logs/published_comparison.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("published_comparison"),
    script:
        "../workflow/scripts/published_comparison.py"


rule comparison:
    input:
        of_release("published_table3"),
        of_release("published_tables_dola"),
        [path for path in presented() if path.match("tables/*.parquet")],
        model_files(),
    output:
        published_files.comparison_files(RESULTS),
        record=record("comparison"),
    log:
        study_log("comparison"),
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("comparison"),
    script:
        "../workflow/scripts/comparison.py"
