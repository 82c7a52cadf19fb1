# Jobs that go wrong at their first attempt, for test_slurm.py.
rule all:
    input:
        "fails_once",
        "over_time",


# Two that are one job of Slurm; the second of them fails.
rule goes_well:
    output:
        "goes_well",
    group:
        "pair"
    shell:
        "echo done > {output}"


rule fails_once:
    input:
        "goes_well",
    output:
        "fails_once",
    group:
        "pair"
    resources:
        tries=lambda wildcards, attempt: attempt,
    shell:
        "echo {resources.tries} >> {rule}.attempts; test {resources.tries} -gt 1; cp {input} {output}"


rule over_time:
    output:
        "over_time",
    resources:
        runtime=lambda wildcards, attempt: attempt,
    shell:
        "echo {resources.runtime} >> {rule}.attempts; test {resources.runtime} -gt 1 || sleep 600; echo done > {output}"
