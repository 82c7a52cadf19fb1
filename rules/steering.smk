# Steering methods beyond the paper's (src/offcourse/steering): a rule per step, named like it.


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

    rule:
        name:
            f"{method}_sweep"
        input:
            prompts=each(f"{method}_sweep", "{model}/prompts/{task}.parquet"),
            vectors=each(method, f"{{model}}/{method}/{{task}}.safetensors") if method in STEPS else [],
            model=RESULTS / "{model}/model.json",
        output:
            artefacts=each(f"{method}_sweep", f"{{model}}/{method}_sweep/{{task}}.parquet"),
            records=each(f"{method}_sweep", f"provenance/{{model}}/{method}_sweep/{{task}}.json"),
        log:
            RESULTS / f"logs/{method}_sweep/{{model}}.log",
        benchmark:
            RESULTS / f"benchmarks/{method}_sweep/{{model}}.tsv"
        group:
            GROUP
        conda:
            "../envs/offcourse.yaml"
        threads: threads(f"{method}_sweep")
        resources:
            **asks(f"{method}_sweep"),
        params:
            code=reads(f"{method}_sweep", "code"),
            parameters=reads(f"{method}_sweep", "parameters"),
            model=reads(f"{method}_sweep", "model"),
            numerics=reads(f"{method}_sweep", "numerics"),
        script:
            "../workflow/scripts/step.py"
