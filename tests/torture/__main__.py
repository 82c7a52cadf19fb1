"""The torture test: how much of what goes wrong is found, refused by name, and mended.

    python -m torture [--part tamper|forge|kill|malformed] [--write-docs]   (with tests/ on PYTHONPATH)

malformed: spoiled inputs of every kind, each refused with one message that names it, or harmless.
tamper: one file of a finished smoke study changed, of every kind there is; found by `offcourse audit --all` and
`offcourse status`, and mended by the next run.
forge: a result changed together with its record, and with its record and shard.
kill: the smoke study killed at random moments and run on; its results are those of an undisturbed run.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
PARTS = ("malformed", "tamper", "forge", "kill")


def main() -> int:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__.split("\n")[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be given again")
    parser.add_argument("--study", type=Path, default=CHECKOUT / ".smoke", help="folder where the smoke study has run")
    parser.add_argument("--only", default="", help="cases whose names match this regular expression")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--verbose", action="store_true", help="say how every case ended")
    parser.add_argument("--write-docs", action="store_true", help="put the figures into docs/provenance.md")
    parser.add_argument("--outcomes", type=Path, help="keep what was found here; the table has other parts' too")
    parser.add_argument("--world", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.world:
        return _malformed(asked)
    from torture import figures

    found = {}
    for part in asked.part or PARTS:
        started = time.monotonic()
        found[part] = _part(part, asked)
        print(figures.summary(part, found[part], time.monotonic() - started), flush=True)
    shown = figures.keep(found, asked.outcomes) if asked.outcomes else found
    if asked.write_docs:
        figures.write_docs(shown, CHECKOUT / "docs" / "provenance.md")
    return 1 if any(outcome["faults"] for outcomes in found.values() for outcome in outcomes) else 0


def _part(part: str, asked: argparse.Namespace) -> list[dict]:
    if part == "malformed":
        return _in_a_world(asked)
    from torture import forge, kill, tamper

    if part == "kill":
        return kill.every(asked.study.resolve(), asked.kills, asked.seed)
    return (tamper if part == "tamper" else forge).every(asked.study.resolve(), re.compile(asked.only))


def _in_a_world(asked: argparse.Namespace) -> list[dict]:
    """Spoil copies in another process: where the tracked tables are is decided when Python starts."""
    from torture.world import lay_out

    with tempfile.TemporaryDirectory() as scratch:
        world = lay_out(asked.study.resolve(), CHECKOUT, Path(scratch) / "world")
        path = os.pathsep.join([str(CHECKOUT / "tests"), str(CHECKOUT / "src")])
        more = {"OFFCOURSE_RESOURCES": str(world.resources), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        more |= {"COLUMNS": "400", "HF_HUB_OFFLINE": "1"}
        kept = Path(scratch) / "outcomes.jsonl"
        words = ["--world", str(world.folder), "--only", asked.only, "--study", str(kept)]
        words += ["--verbose"] if asked.verbose else []
        command = [sys.executable, "-m", "torture", *words]
        done = subprocess.run(command, env=os.environ | more, cwd=CHECKOUT, check=False)
        if done.returncode:
            raise SystemExit("the process that spoils inputs failed; see its messages above")
        return [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]


def _malformed(asked: argparse.Namespace) -> int:
    import torch

    import offcourse.audit.capsule
    import offcourse.cli
    import offcourse.models.load
    from offcourse.data.registry import Registry
    from offcourse.layout import Layout
    from offcourse.study.config import read_study
    from torture import malformed, world
    from torture.case import judged

    torch.set_num_threads(1)
    place = world.World(asked.world)
    # What code is behind what is found once, and not by every child anew.
    study, registry = read_study(place.study), Registry.load()
    offcourse.audit.capsule.Audit(study, registry, Layout(study.study, place.lab)).everything()
    with open(asked.study, "w", encoding="utf-8") as out:
        for case in malformed.cases(place):
            if not re.search(asked.only, f"{case.kind}: {case.name}"):
                continue
            outcome = judged(place, case)
            out.write(world.as_dict(outcome) + "\n")
            if asked.verbose:
                line = f"{outcome.kind}: {outcome.name}: {outcome.code} {outcome.seconds:.1f} s {outcome.said[:200]!r}"
                print(line, *outcome.faults, sep="\n    ", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
