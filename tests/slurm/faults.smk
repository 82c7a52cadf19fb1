# Jobs that go wrong at their first attempt, for test_slurm.py.
rule all:
    input:
        "fails_once",
        "over_time",


rule fails_once:
    output:
        "fails_once",
    resources:
        tries=lambda wildcards, attempt: attempt,
    shell:
        "echo {resources.tries} >> {rule}.attempts; test {resources.tries} -gt 1; echo done > {output}"


rule over_time:
    output:
        "over_time",
    resources:
        runtime=lambda wildcards, attempt: attempt,
    shell:
        "echo {resources.runtime} >> {rule}.attempts; test {resources.runtime} -gt 1 || sleep 600; echo done > {output}"
