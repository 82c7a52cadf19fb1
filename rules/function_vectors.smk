# Function vectors (paper section 4): one rule per step, one job per model, every task of the study in it.
# Priorities: the longest chain of jobs goes first. Jobs that no other job waits for fill the gaps, longest first.


rule prompts:
    input:
        words=release_lists(),
        model=LAYOUT.receipt("{model}"),
    output:
        artefacts=each("prompts", "{model}/prompts/{task}.parquet"),
        records=each("prompts", "provenance/{model}/prompts/{task}.json"),
    log:
        RESULTS / "logs/prompts/{model}.log",
    priority: 20
    conda:
        "../envs/offcourse.yaml"
    params:
        code=reads("prompts", "code"),
        parameters=reads("prompts", "parameters"),
        words=reads("prompts", "words"),
        model=reads("prompts", "model"),
    script:
        "../workflow/scripts/step.py"


rule icl:
    input:
        prompts=each("icl", "{model}/prompts/{task}.parquet"),
        model=RESULTS / "{model}/model.json",
    output:
        artefacts=each("icl", "{model}/icl/{task}.parquet"),
        records=each("icl", "provenance/{model}/icl/{task}.json"),
    log:
        RESULTS / "logs/icl/{model}.log",
    benchmark:
        RESULTS / "benchmarks/icl/{model}.tsv"
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
        "../workflow/scripts/step.py"


rule head_means:
    input:
        prompts=each("head_means", "{model}/prompts/{task}.parquet"),
        model=RESULTS / "{model}/model.json",
    output:
        artefacts=each("head_means", "{model}/head_means/{task}.safetensors"),
        records=each("head_means", "provenance/{model}/head_means/{task}.json"),
    log:
        RESULTS / "logs/head_means/{model}.log",
    benchmark:
        RESULTS / "benchmarks/head_means/{model}.tsv"
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
        "../workflow/scripts/step.py"


rule cie:
    input:
        prompts=each("cie", "{model}/prompts/{task}.parquet"),
        head_means=each("head_means", "{model}/head_means/{task}.safetensors"),
        model=RESULTS / "{model}/model.json",
    output:
        artefacts=each("cie", "{model}/cie/{task}.parquet"),
        records=each("cie", "provenance/{model}/cie/{task}.json"),
    log:
        RESULTS / "logs/cie/{model}.log",
    benchmark:
        RESULTS / "benchmarks/cie/{model}.tsv"
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
        "../workflow/scripts/step.py"


rule function_vectors:
    input:
        head_means=each("head_means", "{model}/head_means/{task}.safetensors"),
        cie=each("cie", "{model}/cie/{task}.parquet"),
    output:
        artefacts=each("function_vectors", "{model}/function_vectors/{task}.safetensors"),
        records=each("function_vectors", "provenance/{model}/function_vectors/{task}.json"),
    log:
        RESULTS / "logs/function_vectors/{model}.log",
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
        "../workflow/scripts/step.py"


rule fv_sweep:
    input:
        prompts=each("fv_sweep", "{model}/prompts/{task}.parquet"),
        function_vectors=each("function_vectors", "{model}/function_vectors/{task}.safetensors"),
        model=RESULTS / "{model}/model.json",
    output:
        artefacts=each("fv_sweep", "{model}/fv_sweep/{task}.parquet"),
        records=each("fv_sweep", "provenance/{model}/fv_sweep/{task}.json"),
    log:
        RESULTS / "logs/fv_sweep/{model}.log",
    benchmark:
        RESULTS / "benchmarks/fv_sweep/{model}.tsv"
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
        "../workflow/scripts/step.py"


# Runs when the study asks for controls.
rule fv_controls:
    input:
        prompts=each("fv_controls", "{model}/prompts/{task}.parquet"),
        head_means=each("head_means", "{model}/head_means/{task}.safetensors"),
        cie=each("cie", "{model}/cie/{task}.parquet"),
        function_vectors=each("function_vectors", "{model}/function_vectors/{task}.safetensors"),
        model=RESULTS / "{model}/model.json",
    output:
        artefacts=each("fv_controls", "{model}/fv_controls/{task}.parquet"),
        records=each("fv_controls", "provenance/{model}/fv_controls/{task}.json"),
    log:
        RESULTS / "logs/fv_controls/{model}.log",
    benchmark:
        RESULTS / "benchmarks/fv_controls/{model}.tsv"
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
        "../workflow/scripts/step.py"
