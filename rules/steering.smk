# Steering methods beyond the paper's (src/offcourse/steering): for each the same rules, called like its steps.


for method in STEERING:

    rule:
        name:
            method
        input:
            words=release_lists(),
            prompts=shards("prompts", reader=method) if STEPS[method].inputs else [],
            model=RESULTS / "{model}" / "model.json",
        output:
            artefacts=shards(method),
            records=records(method),
        log:
            job_log(method),
        benchmark:
            job_benchmark(method)
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
            "../workflow/scripts/steering_method.py"

    rule:
        name:
            f"{method}_sweep"
        input:
            prompts=shards("prompts", reader=f"{method}_sweep"),
            vectors=shards(method),
            model=RESULTS / "{model}" / "model.json",
        output:
            artefacts=shards(f"{method}_sweep"),
            records=records(f"{method}_sweep"),
        log:
            job_log(f"{method}_sweep"),
        benchmark:
            job_benchmark(f"{method}_sweep")
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
            "../workflow/scripts/steering_method.py"

    rule:
        name:
            f"figure_{method}"
        input:
            read_by(f"figure_{method}", "{model}"),
        output:
            shown(f"figure_{method}", "{model}"),
            record=record(f"figure_{method}", "{model}"),
        log:
            job_log(f"figure_{method}"),
        conda:
            "../envs/offcourse.yaml"
        params:
            code=code(f"figure_{method}"),
            settings=settings(f"figure_{method}"),
        script:
            "../workflow/scripts/figure_steering.py"


rule table_methods:
    input:
        read_by("table_methods"),
    output:
        shown("table_methods"),
        record=record("table_methods"),
    log:
        study_log("table_methods"),
    conda:
        "../envs/offcourse.yaml"
    params:
        code=code("table_methods"),
        settings=settings("table_methods"),
    script:
        "../workflow/scripts/table_methods.py"
