"""A folder in which studies run, with the commands that a user has."""

import json
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SMOKE = CHECKOUT / "studies" / "smoke.yaml"


class Lab:
    """A folder in which studies run, and the two commands that a user has."""

    def __init__(self, folder: Path, configfile: Path = SMOKE):
        self.folder, self.configfile = folder, configfile

    def _run(self, command: list, **more) -> subprocess.CompletedProcess:
        environment = os.environ | {"OMP_WAIT_POLICY": "passive", "COLUMNS": "400"}
        return subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, cwd=CHECKOUT, env=environment, **more
        )

    def command(self, *more) -> list[str]:
        where = ["--configfile", self.configfile, "--directory", self.folder]
        return [str(part) for part in (sys.executable, "-m", "snakemake", "--cores", "2", *where, *more)]

    def snakemake(self, *more) -> subprocess.CompletedProcess:
        return self._run(self.command(*more))

    def offcourse(self, verb: str, *more) -> subprocess.CompletedProcess:
        """One verb on the lab's study."""
        where = ["--configfile", self.configfile, "--directory", self.folder]
        return self._run([sys.executable, "-m", "offcourse", verb, *more, *where])

    def status(self) -> tuple[int, dict]:
        done = self.offcourse("status", "--json")
        assert done.returncode in (0, 1), done.stderr
        states = json.loads(done.stdout)["states"]
        return done.returncode, {(s["step"], s["model"], s["task"]): s["why"] for s in states if not s["fresh"]}

    @property
    def results(self) -> Path:
        return self.folder / "results" / "smoke"
