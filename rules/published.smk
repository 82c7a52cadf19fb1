# The authors' released results, below results/published and shared by all studies. Not part of a study; `make published`.
from offcourse.jobs.published import Release, code_of
from offcourse.jobs.published_rules import NAME, STORE
from offcourse.published.archive import MANIFEST, fetched
from offcourse.registry import RESOURCES

RELEASE = Release(Layout(NAME))
PUBLISHED_FILES = {group: RELEASE.outputs(group) for group in STORE}


def released(*groups):
    """The files of some groups, as an input function: there are thousands, and most runs are of a study alone."""
    return lambda wildcards: [path for group in groups for path in PUBLISHED_FILES[group]]


rule published_store:
    input:
        released(*STORE),


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
        code=lambda wildcards: code_of("function_vectors"),
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
        code=lambda wildcards: code_of("task_vectors"),
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
        code=lambda wildcards: code_of("dola"),
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
        code=lambda wildcards: code_of("readings"),
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
        code=lambda wildcards: code_of("cie"),
    script:
        "../workflow/scripts/published_cie.py"
