"""The literal command, and what Slurm says about its jobs."""

import os
import subprocess
import sys
from pathlib import Path

import forking
from lab import CHECKOUT, SMOKE
from slurm_cluster import PATH, run

# Looks at jobs every second or two, not at the pace of a cluster whose jobs take an hour.
FAST = ["--slurm-init-seconds-before-status-checks", "2", "--max-status-checks-per-second", "1"]


def slurm_command(folder: Path, *more, study: Path | None = SMOKE) -> list[str]:
    """`snakemake --profile slurm` on the smoke study, or on the one that the profile names."""
    where = [*(["--configfile", study] if study else []), "--directory", folder]
    return [str(part) for part in (sys.executable, "-m", "snakemake", "--profile", "slurm", *where, *FAST, *more)]


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(CHECKOUT / "src"), os.environ.get("PYTHONPATH", "")])
    # The nodes' cards are pretended.
    without = {"OFFCOURSE_WITHOUT_CARD": "allow"}
    return (
        os.environ | without | {"OMP_WAIT_POLICY": "passive", "COLUMNS": "400", "PYTHONPATH": path, "PATH": PATH} | more
    )


def snakemake(folder: Path, *more, study: Path | None = SMOKE, **variables: str) -> subprocess.CompletedProcess:
    """A run that submits nothing."""
    _, *words = slurm_command(folder, *more, study=study)
    command, given = [forking.python(), *words], forking.SECRETS | environment(**variables)
    return subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, env=given)


def accounted(comment: str) -> list[dict[str, str]]:
    """What Slurm knows of the jobs of a rule or a group, in their order."""
    fields = ("JobID", "State", "ReqMem", "Timelimit", "AllocTRES", "Comment")
    lines = run("sacct", "-X", "-n", "-P", "-o", ",".join(fields)).splitlines()
    jobs = [dict(zip(fields, line.split("|"), strict=True)) for line in lines]
    return [job for job in jobs if job["Comment"].startswith(f"rule_{comment}")]


def states(comment: str) -> list[str]:
    return [job["State"].split()[0] for job in accounted(comment)]


def running(comment: str) -> list[str]:
    """Ids of the jobs of a rule or a group that run now; the accounting has comments of jobs that are over only."""
    jobs = [line.split("|") for line in run("squeue", "-h", "-t", "RUNNING", "-o", "%A|%k").splitlines()]
    return [job for job, said in jobs if said.startswith(f"rule_{comment}")]
