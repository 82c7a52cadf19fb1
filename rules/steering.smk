# Steering methods beyond the paper's (src/offcourse/steering): a rule per step, named like it.


def of_tasks(step):
    """The results of upstream steps for every task of a step."""
    return [path for up in step.inputs for path in each(step.name, f"{{model}}/{up}/{{task}}{STEPS[up].suffix}")]


for method in STEERING:

    # A method that changes the prompt has no vectors.
    if method in STEPS:

        rule:
            name:
                method
            input:
                words=release_lists(),
                prompts=each(method, "{model}/prompts/{task}.parquet") if STEPS[method].inputs else [],
                model=RESULTS / "{model}/model.json",
            output:
                artefacts=each(method, f"{{model}}/{method}/{{task}}.safetensors"),
                records=each(method, f"provenance/{{model}}/{method}/{{task}}.json"),
            log:
                RESULTS / f"logs/{method}/{{model}}.log",
            benchmark:
                RESULTS / f"benchmarks/{method}/{{model}}.tsv"
            group:
                GROUP
            conda:
                "../envs/offcourse.yaml"
            threads: threads(method)
            resources:
                **asks(method),
            params:
                code=reads(method, "code"),
                parameters=reads(method, "parameters"),
                words=reads(method, "words"),
                model=reads(method, "model"),
                numerics=reads(method, "numerics"),
            script:
                "../workflow/scripts/step.py"

    for step in STEPS.values():
        # The sweep, and what is made of it: side effects, and where the study asks for them draws and controls.
        if step.methods != (method,) or step.name == method or step.on_questions:
            continue

        rule:
            name:
                step.name
            input:
                results=of_tasks(step),
                words=release_lists() if step.reads_words else [],
                model=RESULTS / "{model}/model.json",
            output:
                artefacts=each(step.name, f"{{model}}/{step.name}/{{task}}.parquet"),
                records=each(step.name, f"provenance/{{model}}/{step.name}/{{task}}.json"),
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


# The same methods on question sets, in two folds.
for method in STEERING:

    if f"{method}_folds" in STEPS:

        rule:
            name:
                f"{method}_folds"
            input:
                questions=release_questions(),
                model=RESULTS / "{model}/model.json",
            output:
                artefacts=each(f"{method}_folds", f"{{model}}/{method}_folds/{{questions}}.safetensors"),
                records=each(f"{method}_folds", f"provenance/{{model}}/{method}_folds/{{questions}}.json"),
            log:
                RESULTS / f"logs/{method}_folds/{{model}}.log",
            benchmark:
                RESULTS / f"benchmarks/{method}_folds/{{model}}.tsv"
            group:
                GROUP
            conda:
                "../envs/offcourse.yaml"
            threads: threads(f"{method}_folds")
            resources:
                **asks(f"{method}_folds"),
            params:
                code=reads(f"{method}_folds", "code"),
                parameters=reads(f"{method}_folds", "parameters"),
                questions=reads(f"{method}_folds", "words"),
                model=reads(f"{method}_folds", "model"),
                numerics=reads(f"{method}_folds", "numerics"),
            script:
                "../workflow/scripts/step.py"

    if f"{method}_answers" in STEPS:

        rule:
            name:
                f"{method}_answers"
            input:
                questions=release_questions(),
                folds=(
                    each(f"{method}_folds", f"{{model}}/{method}_folds/{{questions}}.safetensors")
                    if f"{method}_folds" in STEPS
                    else []
                ),
                model=RESULTS / "{model}/model.json",
            output:
                artefacts=each(f"{method}_answers", f"{{model}}/{method}_answers/{{questions}}.parquet"),
                records=each(f"{method}_answers", f"provenance/{{model}}/{method}_answers/{{questions}}.json"),
            log:
                RESULTS / f"logs/{method}_answers/{{model}}.log",
            benchmark:
                RESULTS / f"benchmarks/{method}_answers/{{model}}.tsv"
            group:
                GROUP
            conda:
                "../envs/offcourse.yaml"
            threads: threads(f"{method}_answers")
            resources:
                **asks(f"{method}_answers"),
            params:
                code=reads(f"{method}_answers", "code"),
                parameters=reads(f"{method}_answers", "parameters"),
                questions=reads(f"{method}_answers", "words"),
                model=reads(f"{method}_answers", "model"),
                numerics=reads(f"{method}_answers", "numerics"),
            script:
                "../workflow/scripts/step.py"
