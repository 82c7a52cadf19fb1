"""What one process of the mutation test does: each change in turn, in children that are forked from it.

A child begins with everything imported and nothing read, so that no cache holds what another change left.
"""

import fcntl
import gc
import importlib
import json
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers  # noqa: F401  imported once, for all children
import yaml

from mutations import steering, world
from mutations.changes import MODEL, Change, Place, changes
from offcourse.errors import OffcourseError
from offcourse.models.manifest import MANIFEST
from offcourse.store.fingerprint import COUNTED

SMOKE = world.CHECKOUT / "studies" / "smoke.yaml"
# The folder of vector files, below that of a study.
VECTORS = "vectors"
# The package's modules, of the checkout that this process runs from.
CODE = world.CHECKOUT / "src" / "offcourse"
# What a change of code has a child import anew. The rest of the tests holds no code of the package.
ANEW = ("offcourse", "mutations", "lab", "forking", "snakemake_logger_plugin_offcourse")


def every(
    place: Path, only: re.Pattern, number: int, processes: int, kept: Path, as_finished: bool, of: str = "smoke"
) -> int:
    """Do this process's share of the changes, and add a line for each to the file `kept`.

    as_finished: take the results of the unchanged study from the finished folder instead of computing them. The trace
    is then of the first change. of: the study, "smoke" or "steering".
    """
    torch.set_num_threads(1)
    # What is imported stays, so no search for unused objects needs to look at it.
    gc.freeze()
    prepared = place / "finished" / "resources" / "downloads" / "models"
    if of == "steering":
        config, all_changes = steering.config(place / "finished"), steering.changes()
    else:
        config = yaml.safe_load(SMOKE.read_text(encoding="utf-8"))
        all_changes = changes(place / "resources", config, prepared)
    wanted = [each for each in all_changes if only.search(each.name)]
    done = {json.loads(line)["name"] for line in kept.read_text().splitlines()} if kept.exists() else set()
    base = None
    for change in wanted[number::processes]:
        if change.name in done:
            continue
        if base is None:
            base = in_child(lambda: _read(place, config) if as_finished else _compute(place, config, prepared))
            _write_trace(kept, base["ran"])
            if base["refused"]:
                raise RuntimeError(f"the study as it is cannot be computed: {base['refused']}")
        outcome = _outcome(place, config, prepared, change, base)
        _write_trace(kept, outcome.pop("ran"))
        with open(kept, "a", encoding="utf-8") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            out.write(json.dumps(outcome) + "\n")
        print(f"{change.name}: {outcome['seconds']:.0f} s", file=sys.stderr, flush=True)
    return 0


def _outcome(place: Path, config: dict, prepared: Path, change: Change, base: dict) -> dict[str, Any]:
    """What a change redoes, and what it moves."""
    began = time.monotonic()
    saved = place / "saved"
    copied = json.loads(json.dumps(config))
    mine = Place(place / "resources", copied, prepared, place / "packages", place / "finished", CODE)
    restored = {"resources": place / "resources", "models": prepared}
    if change.where == "code":
        restored["code"] = CODE
    if (place / "finished" / VECTORS).exists():
        restored[VECTORS] = place / "finished" / VECTORS
    for name, source in restored.items():
        shutil.rmtree(saved / name, ignore_errors=True)
        shutil.copytree(source, saved / name, copy_function=shutil.copy2)
    receipt, made = place / "finished" / "results" / config["study"] / MODEL / MANIFEST, prepared / MODEL / MANIFEST
    shutil.copy2(receipt, saved / MANIFEST)
    try:
        change.make(mine)
        if made.read_bytes() != receipt.read_bytes():
            # As if the model had been prepared so.
            shutil.copy2(made, receipt)
        configfile = place / "study.yaml"
        configfile.write_text(yaml.safe_dump(mine.config, sort_keys=False), encoding="utf-8")
        anew = _anew if change.where == "code" else _here
        plan = in_child(lambda: anew("_plan", place, configfile))
        plan["planned"] = [job for job in plan["planned"] if world.is_run(job[0], config["study"])]
        plan["stale"] = {
            unit: why for unit, why in plan["stale"].items() if world.is_run(unit.split(" ")[0], config["study"])
        }
        # The model of random weights takes its tokenizer from the word lists; a model that is there stays as it is.
        given = prepared if change.where.startswith(("resources/words", "model ", "code", "vector file")) else None
        # Another version that a package's metadata say computes nothing otherwise.
        known = change.where == "package" and base["ran"]
        run = base if known else in_child(lambda: anew("_compute", place, mine.config, given, change, base))
    finally:
        for name, target in restored.items():
            shutil.rmtree(target)
            shutil.copytree(saved / name, target, copy_function=shutil.copy2)
        shutil.copy2(saved / MANIFEST, receipt)
        shutil.rmtree(place / "packages", ignore_errors=True)
    return {
        "name": change.name,
        "where": change.where,
        "what": change.what,
        **plan,
        "units": [unit for unit in run["results"] if run["results"][unit] != base["results"].get(unit)],
        "all units": sorted(base["results"]),
        "keys": [unit for unit in run["keys"] if run["keys"][unit] != base["keys"].get(unit)],
        "gone": sorted(base["results"].keys() - run["results"].keys()),
        "refused": run["refused"],
        "refusing": run["refusing"],
        "uses": _users(run["ran"], change.what) if change.where == "package" else [],
        "ran": run["ran"],
        "seconds": time.monotonic() - began,
    }


def _here(name: str, *words) -> dict[str, Any]:
    return globals()[name](*words)


def _anew(name: str, *words) -> dict[str, Any]:
    """A function of this module after all of the package has been imported anew, from its modules as they are now."""
    for module in [module for module in sys.modules if module.split(".")[0] in ANEW]:
        del sys.modules[module]
    return getattr(importlib.import_module("mutations.work"), name)(*words)


def _write_trace(kept: Path, ran: dict[str, list[str]]) -> None:
    """Beside the outcomes: what ran for the results of the first study that was traced."""
    trace = kept.with_suffix(".trace.json")
    if ran and not trace.exists():
        trace.write_text(json.dumps(ran), encoding="utf-8")


def _users(ran: dict[str, list[str]], package: str) -> list[str]:
    """The steps and rules in whose results Python code of a package ran."""
    name = COUNTED[package]
    # Whoever walks through the loaded modules meets a lazy module's loader, which computes nothing.
    loader = re.compile(r"/(transformers/__init__|transformers/utils/import_utils)\.py:")
    return sorted(
        step
        for step, places in ran.items()
        if any(f"/site-packages/{name}/" in each and not loader.search(each) for each in places)
    )


def _plan(place: Path, configfile: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"planned": [], "stale": {}, "not planned": "", "no status": "", "crash": ""}
    if (place / "packages").exists():
        sys.path.insert(0, str(place / "packages"))
    try:
        found["planned"] = sorted(world.planned(configfile, place / "finished"))
    except RuntimeError as error:
        found["not planned"] = str(error)
    try:
        stale = world.stale(configfile, place / "finished")
        found["stale"] = {_text(unit): why for unit, why in stale.items()}
    except OffcourseError as error:
        found["no status"] = str(error)
    except Exception as error:
        # A traceback is a fault of its own, which the judge names; the other changes go on.
        found["no status"], found["crash"] = repr(error), traceback.format_exc().strip()[-400:]
    return found


def _compute(
    place: Path, config: dict, prepared: Path | None, change: Change | None = None, base: dict | None = None
) -> dict[str, Any]:
    """The study from nothing; as it is when no change is given. Traced, unless a study as it is (`base`) was traced.

    A change of a file that is not opened before some job moves nothing before that job: the results up to there are
    those of the study as it is.
    """
    folder, configfile = place / "nothing", place / "study-from-nothing.yaml"
    configfile.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    tracer, opened = world.Trace(), {}
    first, known = None, None
    if base is None or not base["ran"]:
        tracer.install()
    if change is None:
        sys.addaudithook(lambda event, words: _note(event, words, place / "resources", opened))
    elif change.where.startswith("resources/") and base["ran"]:
        files = base["opened"].get(change.where.removeprefix("resources/"), [])
        known = world.Run({tuple(unit.split(" ")): digest for unit, digest in base["results"].items()})
        first = lambda job: list(job) in files  # noqa: E731
    if first:
        shutil.copytree(place / "as it is", folder, copy_function=shutil.copy2)
        shutil.rmtree(folder / "results" / "store")
    else:
        folder.mkdir()
    if (place / "finished" / VECTORS).exists():
        shutil.copytree(place / "finished" / VECTORS, folder / VECTORS, dirs_exist_ok=True)
    os.chdir(folder)
    run = world.run_all(configfile, prepared, first, known)
    if change is None:
        shutil.rmtree(place / "as it is", ignore_errors=True)
        shutil.copytree(folder, place / "as it is", copy_function=shutil.copy2)
    return _said(run, opened, tracer)


def _read(place: Path, config: dict) -> dict[str, Any]:
    """The study as it is, as the finished folder has it; what ran and what was opened is not known."""
    os.chdir(place / "finished")
    configfile = place / "study.yaml"
    configfile.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return _said(world.read(configfile), {}, world.Trace())


def _said(run: world.Run, opened: dict[str, list], tracer: world.Trace) -> dict[str, Any]:
    """A run in plain JSON."""
    return {
        "opened": opened,
        "results": {_text(unit): digest for unit, digest in run.results.items()},
        "keys": {_text(unit): key for unit, key in run.keys.items()},
        "ran": {name: sorted(places) for name, places in tracer.ran.items()},
        "refused": run.refused,
        "refusing": run.refusing,
    }


def _note(event: str, words: tuple, resources: Path, opened: dict[str, list]) -> None:
    """A listener to Python's audit events: which job opens which tracked file."""
    if event == "open" and isinstance(words[0], str) and words[0].startswith(f"{resources}/") and world.NOW:
        jobs = opened.setdefault(words[0].removeprefix(f"{resources}/"), [])
        if world.NOW[0] not in jobs:
            jobs.append(world.NOW[0])


def _text(unit: world.Unit) -> str:
    return " ".join(unit)


def in_child(function: Callable[[], dict]) -> dict:
    """What a function returns (plain JSON), called in a forked process. Raises `RuntimeError` with its traceback."""
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            answer = {"found": function()}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        with open(writing, "w", encoding="utf-8") as out:
            json.dump(answer, out)
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as back:
        answer = json.load(back)
    os.waitpid(child, 0)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["found"]
