"""Checks with Slurm before a run: nodes for the jobs that will be submitted, and jobs that a killed run left behind."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offcourse.errors import OffcourseError, did_you_mean

COMMANDS = ("sbatch", "sinfo", "squeue", "scancel", "scontrol")
PATIENCE = 300  # seconds that cancelled jobs may take to end


@dataclass(frozen=True)
class Asked:
    """The resources that one job asks Slurm for.

    who: how messages name the job, by its rule or model. partition: one or several, separated by commas (None: the
    default). memory: MB. minutes: time limit (None: the partition's limit).
    """

    who: str
    partition: str | None
    gpus: int
    cpus: int
    memory: int
    minutes: int | None

    @classmethod
    def of(cls, job: Any) -> "Asked":
        """The request of a Snakemake job, or of a group of jobs that is one Slurm job.

        Raises `OffcourseError` for a group whose jobs name different partitions.
        """
        who = f"the job of {job.groupid}" if job.is_group() else f"rule {job.rule.name}"
        if job.is_group():
            _one_partition(job)
        asked = job.resources
        cpus = asked.get("cpus_per_task") or job.threads
        numbers = (asked.get("gpu") or 0, cpus, asked.get("mem_mb") or 0, asked.get("runtime"))
        return cls(who, asked.get("slurm_partition"), *numbers)


@dataclass(frozen=True)
class Nodes:
    """Equal nodes of one partition. minutes: the partition's time limit (None: no limit)."""

    partition: str
    default: bool
    gpus: int
    cpus: int
    memory: int
    minutes: int | None


def _one_partition(group: Any) -> None:
    asked: dict[str, str] = {}
    for job in sorted(group.jobs, key=lambda job: job.rule.name):
        asked.setdefault(str(job.resources.get("slurm_partition")), job.rule.name)
    if len(asked) > 1:
        said = ", ".join(f"{rule} in {partition}" for partition, rule in asked.items())
        raise OffcourseError(
            f"all that runs {group.groupid} is one Slurm job, but it is to be in several partitions: {said}. Name one "
            "for all of it (gpu_partition in the profile), or take a rule that no other waits for out of it: --groups "
            "RULE=RULE."
        )


def missing_commands() -> list[str]:
    """A sentence that names Slurm's commands that are not on the path; none where all are."""
    missing = [name for name in COMMANDS if not shutil.which(name)]
    if not missing:
        return []
    return [
        f"{', '.join(missing)} not found on PATH: --profile slurm submits jobs with Slurm's commands. Run it where "
        "they are (a login node, often after `module load slurm`), or run on this machine with --cores all."
    ]


def problems(jobs: Iterable[Asked]) -> list[str]:
    """Why Slurm has no nodes for some of the jobs, a sentence per cause; none where it has."""
    nodes = [_nodes(line) for line in _slurm("sinfo", "-h", "-e", "-o", "%P|%G|%c|%m|%l").splitlines()]
    found = [_problem(job, nodes) for job in jobs]
    return list(dict.fromkeys(problem for problem in found if problem))


def _problem(job: Asked, nodes: list[Nodes]) -> str | None:
    known = {node.partition for node in nodes}
    # Without a partition in the request, Slurm takes the one in the user's environment, else the default.
    names = (
        set(job.partition.split(",")) if job.partition else {node.partition for node in nodes if node.default} or known
    )
    name = ",".join(sorted(names))
    for unknown in sorted(names - known):
        return (
            f"Slurm has no partition {unknown!r}, which {job.who} asks for; {did_you_mean(unknown, known)} Name "
            "yours in the profile (gpu_partition and slurm_partition)."
        )
    there = [node for node in nodes if node.partition in names]
    wide = [node for node in there if node.gpus >= job.gpus and node.cpus >= job.cpus]
    if not wide:
        most = max((node.gpus, node.cpus) for node in there)
        return (
            f"{job.who} asks for {job.gpus} cards and {job.cpus} CPUs of one node; those of partition {name} "
            f"have {most[0]} and {most[1]}. Set resources.gpu_memory, gpus_per_node and cpus_per_gpu to what your "
            "nodes have, or choose another partition in the profile (gpu_partition, slurm_partition)."
        )
    large = [node for node in wide if node.memory >= job.memory]
    if not large:
        return (
            f"{job.who} asks for {job.memory} MB of memory; nodes of partition {name} have "
            f"{max(node.memory for node in wide)}. Choose another partition, or set mem_mb (set-resources in the "
            "profile)."
        )
    limits = [node.minutes for node in large]
    if job.minutes and None not in limits and job.minutes > max(limits):
        return (
            f"{job.who} asks for {job.minutes} minutes; partition {name} allows {max(limits)}. Choose another "
            "partition, or set runtime (set-resources in the profile)."
        )
    return None


# Text and not `--json`: Slurm 22.05's `sinfo --json` lists nodes without the time limit of a partition and without the
# default partition, its `scontrol` has no --json, and a site may have built Slurm without the JSON plugin.
def _nodes(line: str) -> Nodes:
    """The nodes of one line of sinfo: partition (the default with a star), generic resources, CPUs, MB, time limit."""
    partition, gres, cpus, memory, limit = line.strip().split("|")
    # gpu:4, gpu:a100:4 or gpu:a100:4(S:0-1), separated by commas.
    gpus = sum(int(count) for count in re.findall(r"\bgpu(?::[^:,(]+)??:(\d+)", gres))
    return Nodes(
        partition.rstrip("*"), partition.endswith("*"), gpus, int(cpus), int(memory.rstrip("+")), _minutes(limit)
    )


def _minutes(limit: str) -> int | None:
    """Minutes of [days-]hours:minutes:seconds, or of minutes:seconds."""
    if not limit[:1].isdigit():
        return None
    days, _, clock = limit.rpartition("-")
    hours, minutes, _ = map(int, ("0:" * (2 - clock.count(":")) + clock).split(":"))
    return int(days or 0) * 24 * 60 + hours * 60 + minutes


def end_leftovers(logs: Path) -> list[str]:
    """Cancel jobs that an earlier run of this folder left behind, and wait until they have ended; returns their ids.

    A killed run cannot cancel its jobs, and two jobs must not write the same results. Leftover jobs are recognised by
    the folder of their logs. Results that they finished are in the store.

    logs: the folder of the executor's logs. Raises `OffcourseError` when a job does not end.
    """
    found = _active(logs)
    if found:
        _slurm("scancel", *found)
    deadline = time.monotonic() + PATIENCE
    while remaining := _active(logs):
        if time.monotonic() > deadline:
            raise OffcourseError(
                f"an earlier run left the Slurm jobs {', '.join(remaining)}, which do not end though they were "
                "cancelled. Wait until squeue shows them no more, and run again."
            )
        time.sleep(1)
    return found


def _active(logs: Path) -> list[str]:
    """Ids of jobs that have not ended and whose log is below the folder `logs`."""
    found = []
    for line in _slurm("scontrol", "--oneliner", "show", "job").splitlines():
        said = re.search(r"^JobId=(\d+) .* JobState=(\w+) .* StdOut=(\S.*?)(?: \w+=|$)", line)
        if said and said[2] not in OVER and Path(said[3]).is_relative_to(logs.resolve()):
            found.append(said[1])
    return found


OVER = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}


def _slurm(*words: str) -> str:
    """The output of one of Slurm's commands. Raises `OffcourseError` with the command's message when it fails."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise OffcourseError(
            f"{words[0]} failed: {' '.join(done.stderr.split()) or 'no message'}. Slurm has to answer before jobs "
            "are submitted; try again when `sinfo` does."
        )
    return done.stdout
