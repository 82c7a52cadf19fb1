# Where jobs run: what they ask for, the lock of a run, and what is made sure of before Slurm is given a job. No rule.
import sys
from pathlib import Path

from snakemake_interface_executor_plugins.settings import ExecMode

from offcourse.errors import OffcourseError
from offcourse.cluster import slurm as cluster
from offcourse.run.lock import hold
from offcourse.cluster.resources import Sizes

# Whether this process sends its jobs elsewhere, and whether it is in such a job.
REMOTE = workflow.is_main_process and workflow.resource_settings.nodes is not None
SENT = workflow.exec_mode == ExecMode.REMOTE

# All GPU steps of a model form one Slurm job. `models_in_memory=1` runs them one after another, so the job needs only the
# GPUs and memory of its largest step. Without it Snakemake would run independent steps of the group in parallel.
GROUP = "{model}" if REMOTE or SENT else None
if GROUP:
    workflow.register_resource("models_in_memory", 1)


resource_scopes:
    models_in_memory="local",


try:
    SIZES = Sizes(STUDY, REGISTRY)
    if REMOTE and SIZES.problems():
        raise OffcourseError("\n".join(SIZES.problems()))
except OffcourseError as error:
    sys.exit(f"offcourse: {error}")


def threads(rule):
    """CPUs of a job that runs a model. `auto` shares the cores of this machine between the models, whose jobs run side
    by side; of a cluster it asks for those beside the job's cards.
    """
    if STUDY.numerics.threads != "auto":
        return STUDY.numerics.threads
    if GROUP:
        return lambda wildcards: SIZES.needs(rule, wildcards.model).cpus
    return max(1, (workflow.resource_settings.cores or 1) // len(STUDY.models))


def asks(rule):
    """Resources of a job of a model: cards of one node, memory, minutes, and the site's partition for them. A job that
    runs on this machine takes what is there and asks for nothing.
    """
    if not GROUP:
        return {}

    def ask(name):
        return lambda wildcards, attempt: getattr(SIZES.needs(rule, wildcards.model).at(attempt), name)

    partition = (workflow.resource_settings.default_resources or {}).get("gpu_partition")
    named = {"slurm_partition": partition.raw} if partition else {}
    return {name: ask(name) for name in ("gpu", "mem_mb", "runtime")} | {"models_in_memory": 1} | named


def lock():
    """Refuse a second run in the same folder; on Slurm, end what a killed one has left."""
    try:
        hold(Path(".snakemake") / "offcourse.lock")
        if on_slurm():
            cluster.require_commands()
            # Logs that are elsewhere may be those of several folders.
            if not workflow.executor_settings.logdir and (
                ended := cluster.end_leftovers(Path(".snakemake") / "slurm_logs")
            ):
                print(f"offcourse: ended Slurm jobs of an earlier run: {', '.join(ended)}", file=sys.stderr)
    except OffcourseError as error:
        sys.exit(f"offcourse: {error}")


def on_slurm():
    """Whether jobs are submitted to Slurm."""
    return REMOTE and workflow.executor_plugin.name == "slurm"


def check_cluster():
    """Stop before the first submission when Slurm has no node for one of the jobs."""
    # A site that has its partitions in a file of the executor's leaves the choice, and the complaints, to that.
    if not on_slurm() or workflow.executor_settings.partition_config:
        return
    dag = workflow.dag
    jobs = [job for job in dag.needrun_jobs() if not job.is_local and not job.resources.get("clusters")]
    try:
        # Each by itself first: what one asks for too much is said with its rule.
        cluster.check(map(cluster.Asked.of, jobs))
        cluster.check(map(cluster.Asked.of, {dag.get_job_group(job) for job in jobs} - {None}))
    except OffcourseError as error:
        sys.exit(f"offcourse: {error}")
