"""The mutation test: a change must redo every result that the change moves, and may redo others only for a reason.

    python -m mutations [--of steering] [--study .smoke] [--only REGEX] [--processes 2] [--write-docs]

(with tests/ on PYTHONPATH). For each change of `mutations.changes`, or of `mutations.steering` for the study of
steering methods, `snakemake -n` and `offcourse status` say what they would redo in a finished study; the study is then
computed from nothing, with an empty store, and compared. A result that moved and would not be redone, or whose shard
has the same key as before, is one too few and fails. What is redone without moving is one too many, and must have a
reason (`mutations.reasons`).
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutations", description=__doc__.split("\n")[0])
    parser.add_argument("--of", choices=("smoke", "steering"), default="smoke", help="which study (mutations.steering)")
    parser.add_argument("--study", type=Path, help="folder where the study has run; .smoke, or it is run first")
    parser.add_argument("--only", default="", help="changes whose names match this regular expression")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/provenance.md")
    parser.add_argument("--outcomes", type=Path, help="keep what was found in this file, and go on from what is in it")
    parser.add_argument("--as-finished", action="store_true", help="do not compute the study as it is, which has run")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        return _worker(asked)
    from mutations import judge
    from mutations.code import uncounted

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        kept = asked.outcomes or Path(scratch) / "outcomes.jsonl"
        study = _finished(asked, Path(scratch) / "study")
        for number in range(asked.processes):
            _lay_out(study, Path(scratch) / str(number), asked.of)
        workers = [_start(asked, Path(scratch) / str(number), number, kept) for number in range(asked.processes)]
        codes = [worker.wait() for worker in workers]
        if any(codes):
            print("a worker of the mutation test failed; see its messages above", file=sys.stderr)
            return 1
        missing = uncounted(json.loads(kept.with_suffix(".trace.json").read_text(encoding="utf-8")))
        outcomes = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    outcomes = [outcome for outcome in outcomes if re.search(asked.only, outcome["name"])]
    print(judge.summary(outcomes, time.monotonic() - started))
    print(*missing, f"{len(missing)} functions ran for a result whose key does not hold them", sep="\n")
    if asked.write_docs:
        judge.write_docs(outcomes, CHECKOUT / "docs" / "provenance.md", asked.of)
    return 1 if missing or any(judge.faults(outcome) for outcome in outcomes) else 0


def _finished(asked: argparse.Namespace, scratch: Path) -> Path:
    """The folder of the finished study; that of steering methods runs now where no folder is given that has it."""
    if asked.of == "smoke":
        return (asked.study or CHECKOUT / ".smoke").resolve()
    from mutations import steering

    folder = (asked.study or scratch).resolve()
    if not (folder / "results" / steering.STUDY["study"] / "report.html").exists():
        steering.run(folder)
    return folder


def _lay_out(study: Path, place: Path, of: str) -> None:
    """A copy of the finished study, and of the tracked tables, for one process; of the checkout, if code changes."""
    if of == "steering":
        from lab import copy_checkout

        copy_checkout(place / "checkout")
        shutil.copytree(HERE.parent, place / "checkout" / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(study, place / "finished", copy_function=shutil.copy2, symlinks=True)
    shutil.copytree(CHECKOUT / "resources", place / "resources", ignore=shutil.ignore_patterns("downloads"))


def _start(asked: argparse.Namespace, place: Path, number: int, kept: Path) -> subprocess.Popen:
    words = ["--study", str(place), "--only", asked.only, "--outcomes", str(kept), "--of", asked.of]
    checkout = place / "checkout" if asked.of == "steering" else CHECKOUT
    path = os.pathsep.join([str(checkout / "tests"), str(checkout / "src")])
    words += ["--as-finished"] if asked.as_finished else []
    more = {"OFFCOURSE_RESOURCES": str(place / "resources"), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mutations", "--part", f"{number}/{asked.processes}", *words]
    return subprocess.Popen(command, env=os.environ | more, cwd=checkout)


def _worker(asked: argparse.Namespace) -> int:
    from mutations import work

    number, processes = map(int, asked.part.split("/"))
    only = re.compile(asked.only)
    return work.every(asked.study, only, number, processes, asked.outcomes.resolve(), asked.as_finished, asked.of)


if __name__ == "__main__":
    sys.exit(main())
