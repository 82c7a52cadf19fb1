# Steering methods beyond the paper's (src/offcourse/steering). Each step has a rule of its name: vectors and what is measured
# with them, on tasks, and on question sets in two folds.


for step in STEPS.values():
    if step.methods[0] not in STEERING:
        continue
    unit = "{questions}" if step.on_questions else "{task}"

    rule:
        name:
            step.name
        input:
            results=[path for up in step.inputs for path in each(step.name, f"{{model}}/{up}/{unit}{STEPS[up].suffix}")],
            lists=release_questions() if step.on_questions else (release_lists() if step.is_leaf else []),
            model=RESULTS / "{model}/model.json",
        output:
            artefacts=each(step.name, f"{{model}}/{step.name}/{unit}{step.suffix}"),
            records=each(step.name, f"provenance/{{model}}/{step.name}/{unit}.json"),
        log:
            RESULTS / f"logs/{step.name}/{{model}}.log",
        benchmark:
            RESULTS / f"benchmarks/{step.name}/{{model}}.tsv"
        group:
            GROUP
        conda:
            "../envs/offcourse.yaml"
        threads: threads(step.name)
        resources:
            **asks(step.name),
        params:
            code=reads(step.name, "code"),
            parameters=reads(step.name, "parameters"),
            words=reads(step.name, "words"),
            model=reads(step.name, "model"),
            numerics=reads(step.name, "numerics"),
        script:
            "../workflow/scripts/step.py"
