"""Single tampering: one file of a finished smoke study is changed; it must be found, and be mended by the next run.

Each kind of file is changed by one byte, in a copy of the study. `offcourse audit --all` and `offcourse status` must
say that something is wrong; after `snakemake` both must be content, and the results must be what they were.
"""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lab import Lab
from mutations.world import content

MODEL = "tiny-llama"
# The kinds, each by one file below the folder of the study; a pattern stands for the first file that matches.
KINDS = {
    "prompts": "results/smoke/tiny-llama/prompts/antonym.parquet",
    "in-context accuracy": "results/smoke/tiny-llama/icl/antonym.parquet",
    "means of heads": "results/smoke/tiny-llama/head_means/antonym.safetensors",
    "causal indirect effect": "results/smoke/tiny-llama/cie/antonym.parquet",
    "function vectors": "results/smoke/tiny-llama/function_vectors/antonym.safetensors",
    "sweep of function vectors": "results/smoke/tiny-llama/fv_sweep/antonym.parquet",
    "controls": "results/smoke/tiny-llama/fv_controls/antonym.parquet",
    "accuracy without a task vector": "results/smoke/tiny-llama/tv_icl/antonym.parquet",
    "task vectors": "results/smoke/tiny-llama/task_vectors/antonym.safetensors",
    "sweep of task vectors": "results/smoke/tiny-llama/tv_sweep/antonym.parquet",
    "DoLa": "results/smoke/tiny-llama/dola/misconceptions.parquet",
    "logit lens": "results/smoke/tiny-llama/logit_lens/misconceptions-mc.parquet",
    "apathy": "results/smoke/tiny-llama/apathy/misconceptions-mc.parquet",
    "facts of a model": "results/smoke/tiny-llama/model.json",
    "table, parquet": "results/smoke/tables/table3.parquet",
    "table, csv": "results/smoke/tables/table3.csv",
    "table, md": "results/smoke/tables/table3.md",
    "table, tex": "results/smoke/tables/table3.tex",
    "figure, svg": "results/smoke/figures/figure11.svg",
    "figure, png": "results/smoke/figures/figure11.png",
    "figure, parquet": "results/smoke/figures/figure11.parquet",
    "report": "results/smoke/report.html",
    "crate's metadata": "results/smoke/ro-crate/ro-crate-metadata.json",
    "file in the crate": "results/smoke/ro-crate/tables/table3.csv",
    "record of a result": "results/smoke/provenance/tiny-llama/icl/antonym.json",
    "record of a table": "results/smoke/provenance/table3.json",
    "record of the report": "results/smoke/provenance/report.json",
    "shard": "results/store/*/*.parquet",
    "shard's note": "results/store/*/*.json",
    "prepared weights": "resources/downloads/models/tiny-llama/model.safetensors",
    "prepared configuration": "resources/downloads/models/tiny-llama/config.json",
    "manifest of a prepared model": "resources/downloads/models/tiny-llama/manifest.json",
}


def one_byte(path: Path) -> None:
    """Change one byte in the middle of a file, and leave its times as they were: what changes a file may do so."""
    text, times = bytearray(path.read_bytes()), path.stat()
    at = next(at for at in range(len(text) // 2, len(text)) if chr(text[at]).isalnum())
    text[at] = ord("7") if text[at] != ord("7") else ord("8")
    path.write_bytes(text)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def gone(path: Path) -> None:
    """Delete a file."""
    path.unlink()


def every(study: Path, only: re.Pattern) -> list[dict]:
    """Every kind of file, changed by a byte."""
    wanted = {kind: pattern for kind, pattern in KINDS.items() if only.search(kind)}
    return [tampered("tampered", kind, study, pattern, one_byte) for kind, pattern in wanted.items()]


def tampered(group: str, kind: str, study: Path, pattern: str, change: Callable[[Path], None]) -> dict:
    """What became of one change."""
    with tempfile.TemporaryDirectory() as scratch:
        lab = Lab(Path(scratch) / "lab")
        shutil.copytree(study, lab.folder, copy_function=shutil.copy2, symlinks=True)
        change(sorted(lab.folder.glob(pattern))[0])
        return outcome(group, kind, lab, study)


def outcome(group: str, kind: str, lab: Lab, study: Path) -> dict:
    """Whether what was changed in a copy of `study` is found, mended and then as in `study`."""
    started, faults = time.monotonic(), []
    for verb, words in (("audit", ["--all"]), ("status", [])):
        done = lab.offcourse(verb, *words)
        if done.returncode != 1:
            faults.append(f"offcourse {verb} ends with {done.returncode}: {(done.stderr or 'all is well')[-200:]}")
    done = lab.snakemake()
    if done.returncode:
        faults.append(f"the next run fails: {done.stderr[-300:]}")
    for verb, words in (("audit", ["--all"]), ("status", [])):
        done = lab.offcourse(verb, *words)
        if done.returncode:
            wrong = [line for line in done.stdout.splitlines() if not line.endswith("fresh")]
            faults.append(f"after the next run offcourse {verb} says: {'; '.join(wrong)[:300]} {done.stderr[-200:]}")
    faults += differences(lab.folder, study)
    seconds = time.monotonic() - started
    return {"group": group, "kind": group, "name": kind, "faults": faults, "seconds": seconds, "code": 0}


# What says when, by which process or how fast a study ran.
OTHER = ("logs", "benchmarks", "provenance", "ro-crate")


def results_of(folder: Path) -> dict[str, str]:
    """A digest of what each result of a study says, by path."""
    root = folder / "results" / "smoke"
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {
        path.relative_to(root).as_posix(): content(path)
        for path in paths
        if path.relative_to(root).parts[0] not in OTHER
    }


def names_of(folder: Path) -> set[str]:
    """Every file of a study, its store and its prepared models, by path; not what Snakemake keeps for itself."""
    tops = (folder / "results", folder / "resources")
    return {path.relative_to(folder).as_posix() for top in tops for path in top.rglob("*") if path.is_file()}


def differences(folder: Path, study: Path) -> list[str]:
    """In what the results in one folder are not those of another, and what is left over."""
    mine, theirs = results_of(folder), results_of(study)
    found = [
        f"{path} is not what it was"
        for path in sorted(mine.keys() | theirs.keys())
        if mine.get(path) != theirs.get(path)
    ]
    left = sorted(path for path in names_of(folder) - names_of(study) if not path.endswith((".log", ".tsv")))
    # The store keeps what was computed with an input that was damaged then.
    left = [path for path in left if not re.fullmatch(r"results/store/../[0-9a-f]{64}\.\w+", path)]
    return found[:5] + [f"{path} is left over" for path in left[:5]]
