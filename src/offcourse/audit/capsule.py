"""Capsules: a folder with one cell of a table, its prompts and numbers, and a script that computes the cell again."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from offcourse.analysis import truthfulness
from offcourse.analysis.cells import rows_of
from offcourse.analysis.sources import FACT
from offcourse.audit import capsule_script
from offcourse.audit.audit import Audit
from offcourse.audit.lineage import lineage_of
from offcourse.data.names import RESOURCES
from offcourse.data.questions import load_questions
from offcourse.errors import OffcourseError
from offcourse.files import write_json, write_whole
from offcourse.graph.keys import STEPS
from offcourse.schemas.io import read_unchecked
from offcourse.tables.writing import write_rows

README = """\
{name}, row "{row}", column "{column}": {value} {unit}

cell.json     the cell, where each of its numbers comes from, and how that was made (code, model, data, machine)
numbers/      the rows of the results that it was computed from, one file per entry of cell.json's "sources"
prompts/      what the model was asked
recompute.py  computes the cell again from numbers/: python recompute.py
{more}"""
NEEDS = "\nrecompute.py needs numpy, pandas, scipy and statsmodels for this cell; truthfulness.py is Offcourse's own.\n"


def write_capsule(audit: Audit, name: str, row: str, column: str, folder: Path) -> dict[str, Any]:
    """Write the capsule of one cell into a new `folder`; returns its chain (see `audit.lineage.lineage_of`).

    Raises `OffcourseError` if the folder has files already, and for a name, row or column that is no cell of a table.
    """
    if not name.startswith("table"):
        raise OffcourseError(f"{name} is not a table; a capsule holds one cell of a table.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OffcourseError(f"{folder} is there already and not empty; name a new folder.")
    chain = lineage_of(audit, name, row, column)
    if chain["unit"] == FACT:
        raise OffcourseError(f"{name} holds facts of models, for which nothing was measured; a capsule has numbers.")
    results = audit.layout.results
    scored = False
    for number, entry in enumerate(chain["sources"]):
        rows = rows_of(results, entry)
        scored = scored or entry["measure"] not in rows
        entry["file"] = f"numbers/{number:03d}.csv"
        # 17 digits, so that every double is read back unchanged.
        write_rows(folder / entry["file"], rows, float_format="%.17g")
    for path in chain["artefacts"]:
        _write_prompts(audit, path, chain["sources"], folder / "prompts")
    write_json(folder / "cell.json", chain)
    shutil.copyfile(capsule_script.__file__, folder / "recompute.py")
    if scored:
        shutil.copyfile(truthfulness.__file__, folder / "truthfulness.py")
    text = README.format(**chain, more=NEEDS if scored else "")
    write_whole(folder / "README.txt", lambda path: path.write_text(text, encoding="utf-8"))
    return chain


def _write_prompts(audit: Audit, path: str, sources: list[dict[str, Any]], folder: Path) -> None:
    """The prompts or questions of one artefact's items, a JSON object per line."""
    record = audit.record_of(path)
    step, model, unit = STEPS[record["step"]], record["model"], record["task"]
    if step.on_questions:
        row, limit = audit.registry.question_set(unit), record["parameters"].get("limit")
        questions = load_questions(row, limit, RESOURCES, audit.layout.downloads)
        asked = [{"question": number, **asdict(question)} for number, question in enumerate(questions)]
    else:
        results = audit.layout.results
        mine = [entry["where"] for entry in sources if audit.path(results / entry["artefact"]) == path]
        shots = {where.get("shots") for where in mine}
        frame = read_unchecked(audit.layout.artefact("prompts", ".parquet", model, unit))
        frame = frame[frame["kind"].isin(step.inputs["prompts"])]
        if None not in shots:
            frame = frame[frame["shots"].isin(shots)]
        asked = frame[["kind", "index", "shots", "text", "target"]].to_dict("records")
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in asked)
    write_whole(folder / f"{model}.{step.name}.{unit}.jsonl", lambda out: out.write_text(text, encoding="utf-8"))
