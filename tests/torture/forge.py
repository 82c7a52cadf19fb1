"""Forged results: a result is changed and its record with it, or its record and its shard, each with a right digest.

Nothing is out of step with itself then; only what was made from the true result, or the shard, says otherwise.
"""

import re
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from lab import Lab
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from offcourse.files import sha256
from offcourse.layout import Layout
from offcourse.provenance.records import read_record, write_record
from offcourse.store.sealed_json import read_sealed, write_sealed
from offcourse.store.shards import ShardStore
from torture.tamper import MODEL, outcome

# Results of steps: (step, unit, suffix).
STEPS = (
    ("prompts", "antonym", ".parquet"),
    ("icl", "antonym", ".parquet"),
    ("cie", "antonym", ".parquet"),
    ("function_vectors", "antonym", ".safetensors"),
    ("fv_sweep", "antonym", ".parquet"),
    ("tv_sweep", "present-past", ".parquet"),
    ("dola", "misconceptions", ".parquet"),
    ("logit_lens", "misconceptions-mc", ".parquet"),
)
# Products: (record, file).
PRODUCTS = (
    ("table3", "tables/table3.parquet"),
    ("table3", "tables/table3.csv"),
    ("figure_shots", "figures/figure11.parquet"),
    (f"{MODEL}/check_model", f"{MODEL}/model.json"),
    ("report", "report.html"),
)


def every(study: Path, only: re.Pattern) -> list[dict]:
    """Every forgery."""
    found = []
    for with_shard in (False, True):
        group = "record and shard" if with_shard else "record"
        for step, unit, suffix in STEPS:
            if only.search(f"{group}: {step}"):
                change = partial(result, step=step, unit=unit, suffix=suffix, with_shard=with_shard)
                found.append(_one(f"forged {group}", step, study, change))
    for record, file in PRODUCTS:
        if only.search(f"record: {file}"):
            found.append(_one("forged record", file, study, partial(product, record=record, file=file)))
    return found


def _one(group: str, name: str, study: Path, change: Callable[[Lab], None]) -> dict:
    with tempfile.TemporaryDirectory() as scratch:
        lab = Lab(Path(scratch) / "lab")
        shutil.copytree(study, lab.folder, copy_function=shutil.copy2, symlinks=True)
        change(lab)
        return outcome(group, name, lab, study)


def forged(path: Path) -> None:
    """Change one number of a file, so that the file is as well-formed as before."""
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        notes = dict(frame.attrs)
        numbers = ("hit", "effect", "probability", "score", "value")
        column = next((name for name in numbers if name in frame), frame.columns[-1])
        other = _another(frame[column].iloc[0])
        frame[column] = [other, *frame[column].iloc[1:]]
        frame.attrs = notes
        frame.to_parquet(path, index=False, compression="zstd")
    elif path.suffix == ".safetensors":
        with safe_open(path, framework="numpy") as opened:
            notes = opened.metadata()
        tensors = load_file(path)
        name = sorted(tensors)[0]
        tensors[name] = tensors[name] + 1
        save_file(tensors, path, metadata=notes)
    else:
        text = path.read_text(encoding="utf-8")
        at = re.search(r"[1-8](?!.*[1-8])", text, re.DOTALL).start()
        path.write_text(text[:at] + str(int(text[at]) + 1) + text[at + 1 :], encoding="utf-8")


def _another(value):
    """Another value of the same type."""
    if isinstance(value, bool | np.bool_):
        return not value
    return f"{value}x" if isinstance(value, str) else value + 1


def result(lab: Lab, step: str, unit: str, suffix: str, with_shard: bool) -> None:
    """Forge a result of a step."""
    layout = Layout("smoke", lab.folder)
    artefact, record = layout.artefact(step, suffix, MODEL, unit), layout.record(step, MODEL, unit)
    forged(artefact)
    known = read_record(record)
    write_record(record, {**known, "outputs": dict.fromkeys(known["outputs"], sha256(artefact))})
    if with_shard:
        shard = ShardStore(layout.store).path(known["key"], suffix)
        shutil.copyfile(artefact, shard)
        note = shard.with_suffix(".json")
        write_sealed(note, {**read_sealed(note), "sha256": sha256(shard)})


def product(lab: Lab, record: str, file: str) -> None:
    """Forge a file of a table, a figure, a model's facts or the report."""
    path, note = lab.results / file, lab.results / "provenance" / f"{record}.json"
    forged(path)
    known = read_record(note)
    name = path.relative_to(lab.folder).as_posix()
    write_record(note, {**known, "outputs": {**known["outputs"], name: sha256(path)}})
