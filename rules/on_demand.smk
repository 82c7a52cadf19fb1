# A study beside the authors' release: its tables with the printed and the released numbers, and its figures with the
# released ones. Neither is part of a run (`snakemake comparison side_by_side`): both need the release.


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
        RESULTS / "logs/comparison.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("comparison"),
    script:
        "../workflow/scripts/comparison.py"


rule side_by_side:
    input:
        released("function_vectors", "task_vectors", "readings"),
        of_release("published_models"),
        [path for step in pages_of_both.STEPS if step in steps_of(STUDY) for path in of_every_model(step)],
        model_files(),
    output:
        pages_of_both.outputs(results_of(STUDY, REGISTRY, LAYOUT), RELEASE),
        record=record("side_by_side"),
    log:
        RESULTS / "logs/side_by_side.log",
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("side_by_side"),
        protocol=STUDY.protocol.model_dump_json(),
    script:
        "../workflow/scripts/side_by_side.py"
