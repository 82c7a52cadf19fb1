"""The card: a verdict per model and task with its numbers, and where they come from, as JSON and as lines of text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from offcourse.audit.audit import INTACT, Audit
from offcourse.data.registry import Registry
from offcourse.graph.keys import STEPS
from offcourse.judge import pairs
from offcourse.judge.asked import BASELINE, Asked
from offcourse.layout import Layout
from offcourse.provenance.environment import environment
from offcourse.provenance.records import read_record, relative
from offcourse.steering import steering
from offcourse.study.config import read_study


def steps_read(asked: Asked) -> list[str]:
    """The steps whose results a card reads."""
    return ["icl", f"{asked.method}_sweep", f"{BASELINE}_sweep"]


def targets(asked: Asked, layout: Layout) -> list[Path]:
    """The files that a card is made from, relative to the working directory."""
    here = Layout(layout.study)
    return [
        here.artefact(step, STEPS[step].suffix, model, task)
        for step in steps_read(asked)
        for model in asked.models
        for task in asked.tasks
    ]


def card(asked: Asked, study_file: Path, directory: Path, seconds: float) -> dict[str, Any]:
    """The card as plain JSON. study_file: of the study that has run. seconds: what the run took."""
    study, registry = read_study(study_file), Registry.load()
    layout = Layout(study.study, directory)
    method = steering(asked.method).configured(getattr(study, asked.method), directory)
    audit = Audit(study, registry, layout)
    records, wrong, checked = {}, [], 0
    for path in targets(asked, layout):
        for finding in audit.behind(path.as_posix()):
            checked += 1
            if finding.state != INTACT:
                wrong.append(finding.as_dict())
    for step in steps_read(asked):
        for model in asked.models:
            for task in asked.tasks:
                path = layout.record(step, model, task)
                record = read_record(path)
                records[relative(path, directory)] = {"key": record["key"], "outputs": record["outputs"]}
    return {
        "judged": {
            "method": asked.method,
            "label": method.label,
            "source": method.source,
            "edits": {name: getattr(method, name) for name in ("site", "operation", "positions", "together")},
            "file": _file(asked, method),
        },
        "pairs": pairs.rows(asked, layout),
        "seconds": round(seconds, 1),
        "provenance": {
            **environment(),
            "study": study.study,
            "study_file": relative(study_file, directory),
            "configuration": asked.study(),
            "results": relative(layout.results, directory),
            "records": records,
            "audit": {"files": checked, "wrong": wrong},
        },
    }


def _file(asked: Asked, method: Any) -> dict[str, Any] | None:
    if not asked.file:
        return None
    found = method.vectors
    return {
        "name": asked.file.name,
        "sha256": asked.settings["sha256"],
        "numbers_sha256": found.sha256,
        "layers": found.layers,
        "model": found.model,
        "made": dict(found.made),
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """The card as lines of text."""
    judged = found["judged"]
    what = f"{judged['label']} ({judged['source']})"
    if judged["file"]:
        what = f"{judged['file']['name']}, {len(judged['file']['layers'])} layers"
    edits = judged["edits"]
    yours = [f"{what}: {edits['operation']} at {edits['positions']} positions of site {edits['site']}"]
    for model, rows in _by_model(found["pairs"]).items():
        yours.append(f"{model}")
        for row in rows:
            yours.append(f"  {row['task']}: {row['verdict']}")
            yours.append(
                f"    accuracy {row['unsteered']:.2f} to {row['steered']:.2f}, gain {row['gain']:+.2f} "
                f"[{row['gain_low']:+.2f}, {row['gain_high']:+.2f}], p by luck {row['luck_p']:.3g}"
            )
            yours.append(
                f"    prompting {row['prompting']:.2f}, few-shot {row['few_shot']:.2f}; best: strength "
                f"{row['strength']:g}, layer {row['layer']}; {row['items']} items"
            )
    return yours


def _by_model(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["model"], []).append(row)
    return found
