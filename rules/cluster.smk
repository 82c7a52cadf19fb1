# Functions for jobs: the resources they ask for, the lock of a run, and checks before Slurm is given a job. No rule.
import sys
import threading
from pathlib import Path

import psutil
from snakemake_interface_executor_plugins.settings import ExecMode

from offcourse.errors import OffcourseError
from offcourse.cluster import slurm as cluster
from offcourse.plan.probe import job_threads
from offcourse.run.cards import cards_here
from offcourse.run.lock import hold
from offcourse.cluster.resources import Sizes, too_small, with_cards

# Parameters from which a second thread helps a model's passes.
TINY = 10_000_000

# REMOTE: whether this process submits its jobs to a cluster. SENT: whether this process runs in such a job.
REMOTE = workflow.is_main_process and workflow.resource_settings.nodes is not None
SENT = workflow.exec_mode == ExecMode.REMOTE

# All GPU steps of a model form one Slurm job. `models_in_memory=1` runs them one after another, so the job needs only the
# GPUs and memory of its largest step. Without it Snakemake would run independent steps of the group in parallel.
GROUP = "{model}" if REMOTE or SENT else None
# All tables and figures form another Slurm job, which makes a few tables or figures at a time (`shown_at_once`).
SHOWN_GROUP, SHOWN_MINUTES = ("tables_and_figures" if GROUP else None), 5
if GROUP:
    workflow.register_resource("models_in_memory", 1)
    workflow.register_resource("shown_at_once", 4)


resource_scopes:
    models_in_memory="local",
    shown_at_once="local",


try:
    # GPUs of this machine. On a cluster Slurm hands out the GPUs of its nodes.
    CARDS = [] if GROUP else cards_here()
    if CARDS and "cards" not in workflow.global_resources:
        # Jobs that run side by side have no more cards than there are, or than `--resources cards=N` says.
        workflow.register_resource("cards", len(CARDS))
    SIZES = Sizes(with_cards(STUDY, CARDS), REGISTRY)
except OffcourseError as error:
    sys.exit(f"offcourse: {error}")


def threads(rule):
    """CPUs of a job that runs a model. With `auto`, the cores of this machine are shared between the jobs that run side by
    side (`job_threads`); on a cluster a job gets a number of CPUs per card.
    """
    if STUDY.numerics.threads != "auto":
        return STUDY.numerics.threads
    if GROUP:
        return lambda wildcards: SIZES.needs(rule, wildcards.model).cpus
    cores = workflow.resource_settings.cores or 1
    if CARDS:
        # A job that waits for its cards needs few processors.
        return lambda wildcards: max(1, min(cores // len(CARDS), SIZES.needs(rule, wildcards.model).cpus))
    share = job_threads(STUDY, REGISTRY, cores, psutil.virtual_memory().total)
    # A tiny model's job spends its time on imports, which use one core, so two jobs run side by side.
    return lambda wildcards: 1 if (REGISTRY.model(wildcards.model).parameters or TINY) < TINY else share


def asks(rule):
    """Resources of a job of a model: cards of one node, memory, minutes, and the site's partition for cards. A job that
    runs on this machine asks for its cards alone, or for nothing.
    """
    if not GROUP:
        return {"cards": lambda wildcards: SIZES.needs(rule, wildcards.model).gpu} if CARDS else {}

    def ask(name):
        return lambda wildcards, attempt: getattr(needed(rule, wildcards.model).at(attempt), name)

    partition = (workflow.resource_settings.default_resources or {}).get("gpu_partition")
    named = {"slurm_partition": partition.raw} if partition else {}
    return {name: ask(name) for name in ("gpu", "mem_mb", "runtime")} | {"models_in_memory": 1} | named


def asks_to_show():
    """Resources of a table or figure, beside the memory that the profile gives it: they are minutes of one job."""
    if not GROUP:
        return {}
    return {"runtime": lambda wildcards, attempt: SHOWN_MINUTES * attempt, "shown_at_once": 1}


def needed(rule, model):
    """Resources of a step. Of the steps of a model that are one Slurm job, one asks for the job's start-up."""
    needs = SIZES.needs(rule, model)
    groups = {
        job.rule.name: job.group
        for job in workflow.dag.needrun_jobs()
        if job.wildcards_dict.get("model") == model and job.group is not None
    }
    own = groups.get(rule)
    first = min((name for name, group in groups.items() if group == own), default=rule)
    # A rule that is not among them yet is asked about before the graph is known.
    return needs.with_start() if own is None or rule == first else needs


def lock():
    """Refuse a second run in the same folder; on Slurm, also cancel the jobs that a killed run left behind."""
    try:
        hold(Path(".snakemake") / "offcourse.lock")
    except OffcourseError as error:
        sys.exit(f"offcourse: {error}")
    if on_slurm():
        try:
            silent = cluster.missing_commands() or end_leftovers()
        except OffcourseError as error:
            silent = [str(error)]
        if silent:
            # Without Slurm the graph is not built: all that is known without it is said now.
            stop_for([*silent, *all_missing()])


def end_leftovers():
    """Cancel the jobs of a killed run of this folder. Returns nothing, so that nothing is missing."""
    # With another log folder, the logs there may be of several working directories.
    if not workflow.executor_settings.logdir and (ended := cluster.end_leftovers(Path(".snakemake") / "slurm_logs")):
        print(f"offcourse: ended Slurm jobs of an earlier run: {', '.join(ended)}", file=sys.stderr)


def on_slurm():
    """Whether jobs are submitted to Slurm."""
    return REMOTE and workflow.executor_plugin.name == "slurm"


def stop_for(findings):
    """End the run with one message of all findings, if there are any."""
    if findings:
        from offcourse.cluster.first_contact import told

        sys.exit(f"offcourse: {told(findings)}")


def all_missing(models=None):
    """What the study itself lacks for a cluster; models: those that are going to be prepared."""
    # Imported here, since every job of the cluster reads this file too.
    from offcourse.cluster.first_contact import missing

    return missing(SIZES, REGISTRY, THERE, models)


def check_cluster():
    """Stop before the first submission for all that is missing: of the study, and of Slurm's nodes for its jobs."""
    if not REMOTE:
        return
    jobs = list(workflow.dag.needrun_jobs())
    prepared = {job.wildcards_dict["model"] for job in jobs if job.rule.name == "prepare_model"}
    try:
        stop_for([*all_missing(prepared), *without_nodes(jobs)])
    except OffcourseError as error:
        sys.exit(f"offcourse: {error}")


def without_nodes(jobs):
    """Why Slurm has no node for some of the jobs."""
    # If the site describes its partitions in a file for the executor, the executor chooses and checks them.
    if not on_slurm() or workflow.executor_settings.partition_config:
        return []
    dag = workflow.dag
    sent = [job for job in jobs if not job.is_local and not job.resources.get("clusters")]
    # Check jobs one by one first, so that a message names the rule; then groups, which are one job each.
    return cluster.problems(map(cluster.Asked.of, sent)) or cluster.problems(
        map(cluster.Asked.of, {dag.get_job_group(job) for job in sent} - {None})
    )


def check_cards():
    """Stop before the first job when this machine's cards are too small for a model that would run on them."""
    if not CARDS:
        return
    asking = [job for job in workflow.dag.needrun_jobs() if job.resources.get("cards")]
    if message := too_small(SIZES, {job.wildcards_dict.get("model") for job in asking}, len(CARDS)):
        sys.exit(f"offcourse: {message}")


def end_timers():
    """Stop the timers by which Snakemake looks at waiting jobs again. It would wait for them at the end of a run, up to
    the time span of `max-jobs-per-timespan`.
    """
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()
