"""The smoke study, run once for real; tests take copies of the folder that it ran in."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
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

    def status(self) -> tuple[int, dict]:
        where = ["--configfile", self.configfile, "--directory", self.folder, "--json"]
        done = self._run([sys.executable, "-m", "offcourse", "status", *where])
        assert done.returncode in (0, 1), done.stderr
        states = json.loads(done.stdout)["states"]
        return done.returncode, {(s["step"], s["model"], s["task"]): s["why"] for s in states if not s["fresh"]}

    @property
    def results(self) -> Path:
        return self.folder / "results" / "smoke"


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Lab:
    """The smoke study after a run from nothing. Tests must not change it: `lab` is a copy."""
    lab = Lab(tmp_path_factory.mktemp("smoke"))
    done = lab.snakemake()
    assert done.returncode == 0, done.stderr
    return lab


@pytest.fixture
def lab(finished, tmp_path) -> Lab:
    """A copy of the finished study, with its times."""
    folder = tmp_path / "lab"
    shutil.copytree(finished.folder, folder, copy_function=shutil.copy2, symlinks=True)
    return Lab(folder)
