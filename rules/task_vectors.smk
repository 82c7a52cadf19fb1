# Task vectors (paper section 4): baselines, vectors and sweep are short, so they are one job per model.


rule task_vectors:
    input:
        prompts=each("task_vectors", "{model}/prompts/{task}.parquet"),
        model=RESULTS / "{model}/model.json",
    output:
        baselines=each("tv_icl", "{model}/tv_icl/{task}.parquet"),
        baselines_records=each("tv_icl", "provenance/{model}/tv_icl/{task}.json"),
        vectors=each("task_vectors", "{model}/task_vectors/{task}.safetensors"),
        vectors_records=each("task_vectors", "provenance/{model}/task_vectors/{task}.json"),
        sweep=each("tv_sweep", "{model}/tv_sweep/{task}.parquet"),
        sweep_records=each("tv_sweep", "provenance/{model}/tv_sweep/{task}.json"),
    log:
        RESULTS / "logs/task_vectors/{model}.log",
    benchmark:
        RESULTS / "benchmarks/task_vectors/{model}.tsv"
    priority: 5
    group:
        GROUP
    conda:
        "../envs/offcourse.yaml"
    threads: threads("task_vectors")
    resources:
        **asks("task_vectors"),
    params:
        baselines=reads("tv_icl", "code"),
        vectors=reads("task_vectors", "code"),
        sweep=reads("tv_sweep", "code"),
        parameters=reads("tv_sweep", "parameters"),
        model=reads("tv_sweep", "model"),
        numerics=reads("tv_sweep", "numerics"),
    script:
        "../workflow/scripts/step.py"
