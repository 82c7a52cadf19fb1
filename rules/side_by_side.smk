# A study's figures with those of the authors' release on the same page. On demand (`snakemake side_by_side`): it needs
# the release.
from offcourse.published import side_by_side as pages_of_both

OURS = pages_of_both.of_study(STUDY, REGISTRY, LAYOUT)
THEIRS = pages_of_both.of_release(RELEASE)


rule side_by_side:
    input:
        released("function_vectors", "task_vectors", "readings"),
        of_release("published_models"),
        [path for step in pages_of_both.STEPS if step in steps_of(STUDY) for path in of_every_model(step)],
        model_files(),
    output:
        pages_of_both.outputs(OURS, THEIRS),
        record=record("side_by_side"),
    log:
        study_log("side_by_side"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code_of_release("side_by_side"),
        protocol=STUDY.protocol.model_dump_json(),
    script:
        "../workflow/scripts/side_by_side.py"
