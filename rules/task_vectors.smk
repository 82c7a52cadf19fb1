# Task vectors (paper section 4): baselines, vectors and sweep are short, so they are one job per model.


rule task_vectors:
    input:
        prompts=shards("prompts", reader="task_vectors"),
        model=RESULTS / "{model}" / "model.json",
    output:
        baselines=shards("tv_icl"),
        baselines_records=records("tv_icl"),
        vectors=shards("task_vectors"),
        vectors_records=records("task_vectors"),
        sweep=shards("tv_sweep"),
        sweep_records=records("tv_sweep"),
    log:
        job_log("task_vectors"),
    benchmark:
        job_benchmark("task_vectors")
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
        "../workflow/scripts/task_vectors.py"
