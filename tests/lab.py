"""A folder in which studies run, with the commands that a user has."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from forking import environment, python

from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.models.manifest import loaded_digest
from offcourse.store.sealed_json import read_sealed

CHECKOUT = Path(__file__).resolve().parents[1]
SMOKE = CHECKOUT / "studies" / "smoke.yaml"
# What the workflow and the package need of a checkout.
TREE = ("Snakefile", "config.yaml", "resources", "rules", "src", "studies", "workflow", "profiles", "envs")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "downloads", "*.egg-info")


def copy_checkout(target: Path) -> Path:
    """A copy of the tree whose code can be edited; its files have new times."""
    target.mkdir(parents=True)
    for name in TREE:
        source = CHECKOUT / name
        if source.is_symlink():
            (target / name).symlink_to(os.readlink(source))
        elif source.is_dir():
            shutil.copytree(source, target / name, ignore=NOT_COPIED, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, target / name)
    return target


class Lab:
    """A folder in which studies run, and the commands that a user has.

    checkout: whose workflow and package run. packages: folders before all others on Python's path.
    """

    def __init__(
        self, folder: Path, configfile: Path = SMOKE, checkout: Path = CHECKOUT, packages: Sequence[Path] = ()
    ):
        self.folder, self.configfile, self.checkout, self.packages = folder, configfile, checkout, packages

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(map(str, (*self.packages, self.checkout / "src")))
        return environment() | {"PYTHONPATH": path}

    def _run(self, command: list, **more) -> subprocess.CompletedProcess:
        words = [python() if part == sys.executable else str(part) for part in command]
        return subprocess.run(words, capture_output=True, text=True, cwd=self.checkout, env=self.environment, **more)

    def command(self, *more) -> list[str]:
        where = ["--configfile", self.configfile, "--directory", self.folder]
        return [str(part) for part in (sys.executable, "-m", "snakemake", "--cores", "2", *where, *more)]

    def snakemake(self, *more) -> subprocess.CompletedProcess:
        return self._run(self.command(*more))

    def plan(self) -> set[tuple[str, str]]:
        """The jobs, as (rule, model), that `snakemake -n` announces and `offcourse status` agrees on."""
        return self.plan_and_states()[0]

    def plan_and_states(self) -> tuple[set[tuple[str, str]], list[dict]]:
        """`plan`, and what `offcourse status` said of every result."""
        done = self.snakemake("--dry-run")
        assert done.returncode == 0, done.stderr
        planned = jobs(done.stdout + done.stderr)
        states = self.states()
        named = named_by(states)
        assert planned == named, f"only snakemake: {planned - named}; only status: {named - planned}"
        return planned, states

    def offcourse(self, verb: str, *more) -> subprocess.CompletedProcess:
        """One verb on the lab's study."""
        where = ["--configfile", self.configfile, "--directory", self.folder]
        return self._run([sys.executable, "-m", "offcourse", verb, *more, *where])

    def states(self) -> list[dict]:
        done = self.offcourse("status", "--json")
        assert done.returncode in (0, 1), done.stderr
        states = json.loads(done.stdout)["states"]
        assert done.returncode == (0 if all(state["fresh"] for state in states) else 1)
        return states

    def status(self) -> tuple[int, dict]:
        """Exit code of `offcourse status`, and what is not fresh."""
        stale = reasons(self.states())
        return (1 if stale else 0), stale

    def computed(self, executed: set[tuple[str, str]]) -> set[tuple[str, str, str]]:
        """What jobs of steps computed and did not find in the store, as (step, model, unit), by their logs."""
        rules = {step.rule for step in STEPS.values()}
        logs = [self.results / "logs" / rule / f"{model}.log" for rule, model in executed if rule in rules]
        return {
            found for log in logs for found in re.findall(r"^(\S+) (\S+) (\S+): computed in", log.read_text(), re.M)
        }

    def shards(self) -> dict[tuple[str, str, str, str], int]:
        """When each shard of the store was written (ns), by its step, model, unit and key."""
        layout = Layout("smoke", self.folder)
        models = {
            loaded_digest(made.parent): made.parent.name for made in layout.downloads.glob("models/*/manifest.json")
        }
        found = {}
        for note in layout.store.rglob("*.json"):
            parts = read_sealed(note)["parts"]
            found[parts["step"], models.get(parts["weights"], ""), parts["task"], note.stem] = note.stat().st_mtime_ns
        return found

    @property
    def results(self) -> Path:
        return self.folder / "results" / yaml.safe_load(self.configfile.read_text(encoding="utf-8"))["study"]


def named_by(states: list[dict]) -> set[tuple[str, str]]:
    """The jobs, as (rule, model), that `offcourse status` says a run would have."""
    return {(STEPS[s["step"]].rule if s["step"] in STEPS else s["step"], s["model"]) for s in states if s["job"]}


def reasons(states: list[dict]) -> dict[tuple[str, str, str], list[str]]:
    """Why each result that is not fresh is not, by step, model and unit."""
    return {(s["step"], s["model"], s["unit"]): s["why"] for s in states if not s["fresh"]}


def jobs(output: str) -> set[tuple[str, str]]:
    """The jobs that Snakemake's output describes, as (rule, model); model is "" in a job of the whole study."""
    found = set()
    for block in re.split(r"\n(?=(?:local)?rule \w+:\n)", "\n" + output)[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", block)[1]
        model = re.search(r"^    wildcards: model=(\S+)$", block, re.M)
        found.add((rule, model[1] if model else ""))
    return found - {("all", "")}
