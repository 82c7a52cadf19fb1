# Function vectors (paper section 4): one rule per step, one job per model, every task of the study in it.
# The longest chain of jobs goes first: jobs that nothing waits for fill the gaps, the longest of them first.


rule fetch_words:
    output:
        release_lists(),
    log:
        f"results/{STUDY.study}/logs/fetch_words.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    script:
        "../workflow/scripts/fetch_words.py"


rule prompts:
    input:
        words=release_lists(),
        model=LAYOUT.model_folder("{model}") / "manifest.json",
    output:
        artefacts=shards("prompts"),
        records=records("prompts"),
    log:
        job_log("prompts"),
    priority: 20
    conda:
        "../envs/offcourse.yaml"
    params:
        code=reads("prompts", "code"),
        parameters=reads("prompts", "parameters"),
        words=reads("prompts", "words"),
        model=reads("prompts", "model"),
    script:
        "../workflow/scripts/prompts.py"


rule icl:
    input:
        prompts=shards("prompts", reader="icl"),
        model=RESULTS / "{model}" / "model.json",
    output:
        artefacts=shards("icl"),
        records=records("icl"),
    log:
        job_log("icl"),
    benchmark:
        job_benchmark("icl")
    group:
        GROUP
    conda:
        "../envs/offcourse.yaml"
    threads: threads("icl")
    resources:
        **asks("icl"),
    params:
        code=reads("icl", "code"),
        model=reads("icl", "model"),
        numerics=reads("icl", "numerics"),
    script:
        "../workflow/scripts/icl.py"


rule head_means:
    input:
        prompts=shards("prompts", reader="head_means"),
        model=RESULTS / "{model}" / "model.json",
    output:
        artefacts=shards("head_means"),
        records=records("head_means"),
    log:
        job_log("head_means"),
    benchmark:
        job_benchmark("head_means")
    priority: 20
    group:
        GROUP
    conda:
        "../envs/offcourse.yaml"
    threads: threads("head_means")
    resources:
        **asks("head_means"),
    params:
        code=reads("head_means", "code"),
        model=reads("head_means", "model"),
        numerics=reads("head_means", "numerics"),
    script:
        "../workflow/scripts/head_means.py"


rule cie:
    input:
        prompts=shards("prompts", reader="cie"),
        head_means=shards("head_means"),
        model=RESULTS / "{model}" / "model.json",
    output:
        artefacts=shards("cie"),
        records=records("cie"),
    log:
        job_log("cie"),
    benchmark:
        job_benchmark("cie")
    priority: 20
    group:
        GROUP
    conda:
        "../envs/offcourse.yaml"
    threads: threads("cie")
    resources:
        **asks("cie"),
    params:
        code=reads("cie", "code"),
        parameters=reads("cie", "parameters"),
        model=reads("cie", "model"),
        numerics=reads("cie", "numerics"),
    script:
        "../workflow/scripts/cie.py"


rule function_vectors:
    input:
        head_means=shards("head_means"),
        cie=shards("cie"),
    output:
        artefacts=shards("function_vectors"),
        records=records("function_vectors"),
    log:
        job_log("function_vectors"),
    priority: 20
    group:
        GROUP
    conda:
        "../envs/offcourse.yaml"
    resources:
        **asks("function_vectors"),
    params:
        code=reads("function_vectors", "code"),
        parameters=reads("function_vectors", "parameters"),
        model=reads("function_vectors", "model"),
    script:
        "../workflow/scripts/function_vectors.py"


rule fv_sweep:
    input:
        prompts=shards("prompts", reader="fv_sweep"),
        function_vectors=shards("function_vectors"),
        model=RESULTS / "{model}" / "model.json",
    output:
        artefacts=shards("fv_sweep"),
        records=records("fv_sweep"),
    log:
        job_log("fv_sweep"),
    benchmark:
        job_benchmark("fv_sweep")
    priority: 20
    group:
        GROUP
    conda:
        "../envs/offcourse.yaml"
    threads: threads("fv_sweep")
    resources:
        **asks("fv_sweep"),
    params:
        code=reads("fv_sweep", "code"),
        parameters=reads("fv_sweep", "parameters"),
        model=reads("fv_sweep", "model"),
        numerics=reads("fv_sweep", "numerics"),
    script:
        "../workflow/scripts/fv_sweep.py"


# Runs when the study asks for controls.
rule fv_controls:
    input:
        prompts=shards("prompts", reader="fv_controls"),
        head_means=shards("head_means"),
        cie=shards("cie"),
        function_vectors=shards("function_vectors"),
        model=RESULTS / "{model}" / "model.json",
    output:
        artefacts=shards("fv_controls"),
        records=records("fv_controls"),
    log:
        job_log("fv_controls"),
    benchmark:
        job_benchmark("fv_controls")
    priority: 20
    group:
        GROUP
    conda:
        "../envs/offcourse.yaml"
    threads: threads("fv_controls")
    resources:
        **asks("fv_controls"),
    params:
        code=reads("fv_controls", "code"),
        parameters=reads("fv_controls", "parameters"),
        model=reads("fv_controls", "model"),
        numerics=reads("fv_controls", "numerics"),
    script:
        "../workflow/scripts/fv_controls.py"
