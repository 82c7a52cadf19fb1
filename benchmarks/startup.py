"""What a Slurm job takes before its first step begins, imports apart: `python -m benchmarks.startup --configfile FILE`.

A Slurm job starts Snakemake twice (the job, and within it the process that runs the rules), and that a Python for each
step. Here Snakemake is started as the job does it, for everything that runs the study's first model, up to where it
would run a rule. No Slurm is needed, nothing is computed: files that the rules read are empty ones, since only their
being there is asked for. Python itself says how long its imports take.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from offcourse.data.registry import Registry
from offcourse.data.release_files import release_path
from offcourse.graph.keys import release_questions, steps_of
from offcourse.layout import Layout
from offcourse.models.manifest import MANIFEST
from offcourse.study.config import Study, read_study

CHECKOUT = Path(__file__).resolve().parents[1]
REPEATS = 5
# As the executor starts it (`--mode remote`).
SENT = ["--cores", "all", "--mode", "remote", "--force", "--nolock", "--no-hooks", "--ignore-incomplete", "--dry-run"]


@dataclass(frozen=True)
class Start:
    """Seconds of one start of Snakemake: all of it, and its imports; and what it imported."""

    whole: float
    imports: float
    modules: frozenset[str]

    @property
    def own(self) -> float:
        """Without the imports."""
        return self.whole - self.imports


def start(configfile: Path, folder: Path, environment: Mapping[str, str] | None = None) -> Start:
    """Start Snakemake once, in a folder in which `ready` has put what the rules read.

    Raises `RuntimeError` with what it said when it would not run the rules.
    """
    study = read_study(configfile)
    rules = sorted(rules_of(study))
    targets = [f"{rule}:model={study.models[0]}" for rule in rules]
    command = [sys.executable, "-X", "importtime", "-m", "snakemake", "--snakefile", CHECKOUT / "Snakefile", *SENT]
    command += [
        "--configfiles",
        configfile,
        "--directory",
        folder,
        "--target-jobs",
        *targets,
        "--allowed-rules",
        *rules,
    ]
    began = time.monotonic()
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=CHECKOUT, env=environment)
    whole = time.monotonic() - began
    counted = re.search(r"^total +(\d+)$", done.stdout, re.M)
    if done.returncode or not counted or int(counted[1]) != len(rules):
        raise RuntimeError(done.stdout + done.stderr)
    # Of each module its own microseconds, then those with what it imports.
    imported = re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)", done.stderr, re.M)
    return Start(whole, sum(int(own) for own, _ in imported) / 1e6, frozenset(module for _, module in imported))


def rules_of(study: Study) -> set[str]:
    """What the Slurm job of the study's first model runs."""
    return {"check_model"} | {step.rule for step in steps_of(study, study.models[0]).values() if step.reads_weights}


def ready(study: Study, registry: Registry, folder: Path) -> None:
    """Make empty files of what that job reads."""
    for path in _inputs(study, registry, Layout(study.study, folder)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _inputs(study: Study, registry: Registry, layout: Layout) -> Iterator[Path]:
    yield from (layout.model_folder(model) / MANIFEST for model in study.models)
    yield from (release_path(name, layout.downloads) for name in release_questions(study, registry))
    for step in steps_of(study, study.models[0]).values():
        if not step.reads_weights:
            yield from (layout.artefact(step.name, step.suffix, study.models[0], unit) for unit in step.units(study))


def main() -> None:
    """Print the median of some starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", type=Path, default=CHECKOUT / "studies" / "smoke.yaml")
    configfile = parser.parse_args().configfile
    with tempfile.TemporaryDirectory() as folder:
        ready(read_study(configfile), Registry.load(), Path(folder))
        found = [start(configfile, Path(folder)) for _ in range(REPEATS)]
    own, imports = (statistics.median(getattr(each, name) for each in found) for name in ("own", "imports"))
    print(f"Snakemake in a job of {configfile.name}: {own:.1f} s and {imports:.1f} s of imports (median of {REPEATS})")
    print(f"A Slurm job starts it twice: {2 * own:.1f} s and {2 * imports:.1f} s of imports")


if __name__ == "__main__":
    main()
