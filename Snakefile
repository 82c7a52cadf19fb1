import os

from snakemake.utils import min_version

min_version("9.0")


report: "workflow/report/workflow.rst"


# Without --configfile the study is config.yaml. A study given by --configfile is complete: config.yaml is not merged in.
if not workflow.overwrite_configfiles:

    configfile: os.path.join(workflow.basedir, "config.yaml")


include: "rules/common.smk"
include: "rules/cluster.smk"
include: "rules/reported.smk"
include: "rules/inputs.smk"
include: "rules/models.smk"
include: "rules/function_vectors.smk"
include: "rules/task_vectors.smk"
include: "rules/questions.smk"
include: "rules/steering.smk"
include: "rules/shown.smk"
include: "rules/release.smk"
include: "rules/published.smk"
include: "rules/on_demand.smk"


rule all:
    default_target: True
    input:
        RESULTS / "report.html",
        RESULTS / "ro-crate" / "ro-crate-metadata.json",
        # List every result as a target. With the report alone as target, Snakemake would not notice intermediate results
        # that a failed job deleted, as long as a newer report exists.
        everything,


onstart:
    lock()
    check_cards()
    check_cluster()


onsuccess:
    end_timers()


onerror:
    end_timers()
