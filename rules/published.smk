# The authors' released results, below results/published and shared by all studies. Not part of a study; `make published`.


rule published_store:
    input:
        released(*CONVERTED),


rule fetch_release:
    output:
        fetched(LAYOUT.downloads),
    log:
        f"results/{NAME}/logs/fetch_release.log",
    localrule: True
    conda:
        "../envs/offcourse.yaml"
    params:
        manifest=sha256(RESOURCES / MANIFEST),
    script:
        "../workflow/scripts/fetch_release.py"


rule published_function_vectors:
    input:
        fetched(LAYOUT.downloads),
    output:
        PUBLISHED_FILES["function_vectors"],
    log:
        f"results/{NAME}/logs/published_function_vectors.log",
    conda:
        "../envs/offcourse.yaml"
    threads: 2
    params:
        code=code_of_release("published_function_vectors"),
    script:
        "../workflow/scripts/published_function_vectors.py"


rule published_task_vectors:
    input:
        fetched(LAYOUT.downloads),
    output:
        PUBLISHED_FILES["task_vectors"],
    log:
        f"results/{NAME}/logs/published_task_vectors.log",
    conda:
        "../envs/offcourse.yaml"
    threads: 2
    params:
        code=code_of_release("published_task_vectors"),
    script:
        "../workflow/scripts/published_task_vectors.py"


rule published_dola:
    input:
        fetched(LAYOUT.downloads),
    output:
        PUBLISHED_FILES["dola"],
    log:
        f"results/{NAME}/logs/published_dola.log",
    conda:
        "../envs/offcourse.yaml"
    threads: 2
    params:
        code=code_of_release("published_dola"),
    script:
        "../workflow/scripts/published_dola.py"


rule published_readings:
    input:
        fetched(LAYOUT.downloads),
    output:
        PUBLISHED_FILES["readings"],
    log:
        f"results/{NAME}/logs/published_readings.log",
    conda:
        "../envs/offcourse.yaml"
    threads: 2
    params:
        code=code_of_release("published_readings"),
    script:
        "../workflow/scripts/published_readings.py"


rule published_cie:
    input:
        fetched(LAYOUT.downloads),
    output:
        PUBLISHED_FILES["cie"],
    log:
        f"results/{NAME}/logs/published_cie.log",
    conda:
        "../envs/offcourse.yaml"
    threads: 2
    params:
        code=code_of_release("published_cie"),
    script:
        "../workflow/scripts/published_cie.py"
