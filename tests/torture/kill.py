"""Kills: the smoke study is killed at random moments, again and again, and run on until it is done.

All processes of a run die at once, as when a machine loses its power. What the last run leaves must be the results of
an undisturbed run, and no file more.
"""

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from lab import Lab

from torture.tamper import differences

# Kills of one study before it is left to finish; each comes so many seconds after its run began.
PER_STUDY = 10
FIRST, LAST = 2.0, 25.0


def every(study: Path, kills: int, seed: int) -> list[dict]:
    """Kill runs of the smoke study `kills` times at moments that `seed` gives."""
    rng = random.Random(seed)
    moments = [rng.uniform(FIRST, LAST) for _ in range(kills)]
    found = []
    for begin in range(0, kills, PER_STUDY):
        found += _study(study, moments[begin : begin + PER_STUDY])
    # Two kills may come after as many seconds; outcomes are kept by name.
    return [one | {"name": f"{number}, {one['name']}"} for number, one in enumerate(found, 1)]


def _study(study: Path, moments: list[float]) -> list[dict]:
    """One study from nothing, killed after each of some seconds; an outcome per kill, the last has the comparison."""
    with tempfile.TemporaryDirectory() as scratch:
        lab = Lab(Path(scratch) / "lab")
        found = [_kill(lab, moment) for moment in moments]
        done = lab.snakemake()
        faults = [] if done.returncode == 0 else [f"the run after the kills fails: {done.stderr[-400:]}"]
        for verb, words in (("audit", ["--all"]), ("status", [])):
            asked = lab.offcourse(verb, *words)
            if asked.returncode:
                faults.append(f"offcourse {verb} says: {asked.stdout[-300:]} {asked.stderr[-200:]}")
        found[-1]["faults"] += faults + differences(lab.folder, study)
        shutil.rmtree(lab.folder, ignore_errors=True)
    return found


def _kill(lab: Lab, moment: float) -> dict:
    """Start a run and end all of its processes after some seconds; it may be done before."""
    lab.folder.mkdir(exist_ok=True)
    log = lab.folder.parent / "killed.log"
    with open(log, "w", encoding="utf-8") as out:
        run = subprocess.Popen(
            lab.command(), cwd=lab.checkout, env=lab.environment, stdout=out, stderr=out, start_new_session=True
        )
        try:
            code = run.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            code = run.wait()
            time.sleep(0.2)
    said = log.read_text(encoding="utf-8", errors="replace")
    faults = [f"a run after a kill fails: {said[-400:]}"] if code not in (0, -signal.SIGKILL) else []
    name = f"after {moment:.1f} s" + (" (done before)" if code == 0 else "")
    return {"group": "killed", "kind": "killed", "name": name, "faults": faults, "seconds": moment, "code": code}
