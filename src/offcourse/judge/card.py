"""The card: a verdict per model and unit with its numbers, and where they come from, as JSON and as lines of text.

A unit is a task or a question set. `pairs` are verdicts on tasks with a measure of harm, `benefits` those without one:
on question sets, and on the paper's own methods.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from offcourse.analysis.benefits import BENEFITS
from offcourse.analysis.verdicts import LEVEL, MARGIN, PRECISIONS, VERDICTS, setting
from offcourse.audit.audit import Audit
from offcourse.audit.finding import INTACT
from offcourse.data.registry import Registry
from offcourse.graph.keys import STEPS
from offcourse.judge.asked import BASELINE, Asked
from offcourse.judge.paper import PAPER_METHODS
from offcourse.layout import Layout
from offcourse.models.manifest import read_manifest
from offcourse.provenance.environment import environment
from offcourse.provenance.records import read_record, relative
from offcourse.schemas.io import read_parquet
from offcourse.schemas.results import CELLS
from offcourse.steering import steering
from offcourse.steering.contract import SteeringMethod
from offcourse.steering.vector_file import VectorFileMethod
from offcourse.study.config import Study, read_study
from offcourse.tables.methods_questions import row_of

TABLE = "verdicts"
# The verdicts on question sets, and the table that has every metric of them.
QUESTIONS, CELLS_OF = "verdicts_questions", "table_methods_questions"
QUESTION_SET, TASK = "question set", "task"
# What the words mean, for the page.
NOTES = (
    "Accuracies are held out: strength and layer are chosen on one half of the items and reported on the other.",
    f"Works: better than luck and than prompting (p below {LEVEL:g}), by a difference that counts ({MARGIN:g}) if the "
    "items allow it, and no harm is shown. Works but harms: the text on neutral passages or the other tasks suffer.",
    "Luck is the best of the controls (vectors that should do nothing) and of doing nothing, from an equal grid.",
    "Prompting is the better of an instruction in front of the prompt and of demonstrations.",
    "Cannot be told: the items are too few for any of the other words. More items are --items N.",
)
NOTES_OF_BENEFITS = (
    "Where harm is not measured, a method that is better than luck and than prompting is not said to work: the verdict "
    "says what is known, and that the rest cannot be told.",
    "Without controls, luck is doing nothing.",
)
NOTES_ON_QUESTIONS = (
    "On a question set, vectors are built from one fold of the questions and judged on the other; settings are chosen "
    "on one half and reported on the other.",
)


def notes_of_benefits(card: Mapping[str, Any]) -> list[str]:
    """What the words of `benefits` mean, for the page."""
    asked = any(row["unit"] == QUESTION_SET for row in card["benefits"])
    return [*NOTES_OF_BENEFITS, *(NOTES_ON_QUESTIONS if asked else [])]


def tables(asked: Asked) -> list[str]:
    """The tables that a card is made from."""
    on_tasks = PAPER_METHODS[asked.method].table if asked.method in PAPER_METHODS else TABLE
    return [*([on_tasks] if asked.tasks else []), *([QUESTIONS, CELLS_OF] if asked.questions else [])]


def targets(layout: Layout, asked: Asked) -> list[Path]:
    """The files of `tables`, relative to the working directory."""
    return [Layout(layout.study).results / f"tables/{name}.parquet" for name in tables(asked)]


def card(asked: Asked, study_file: Path, directory: Path, seconds: float) -> dict[str, Any]:
    """The card as plain JSON. study_file: of the study that has run. seconds: what the run took.

    Raises `OffcourseError` when a file behind the table is not what its record says.
    """
    study, registry = read_study(study_file), Registry.load()
    layout = Layout(study.study, directory)
    what = judged(asked, study, directory)
    found = {name: directory / path for name, path in zip(tables(asked), targets(layout, asked), strict=True)}
    rows: dict[str, Any] = {"pairs": [], "baseline": [], "benefits": []}
    for name, path in found.items():
        if name == TABLE:
            table = read_parquet(path, VERDICTS)
            rows |= {"pairs": _of(table, what["label"]), "baseline": _of(table, steering(BASELINE).label)}
        elif name == QUESTIONS:
            cells = read_parquet(found[CELLS_OF], CELLS)
            mine = _of(read_parquet(path, BENEFITS), what["label"])
            rows["benefits"] += [row | {"unit": QUESTION_SET, "metrics": _metrics(cells, row)} for row in mine]
        elif name != CELLS_OF:
            mine = _of(read_parquet(path, BENEFITS), what["label"])
            rows["benefits"] += [row | {"unit": TASK, "metrics": {}} for row in mine]
    return {
        "judged": what,
        **rows,
        "seconds": round(seconds, 1),
        "provenance": _provenance(asked, study, registry, study_file, directory),
    }


def judged(asked: Asked, study: Study, directory: Path) -> dict[str, Any]:
    """What was judged."""
    found: dict[str, Any] = {"method": asked.method}
    if asked.method in PAPER_METHODS:
        method = PAPER_METHODS[asked.method]
        return found | {"label": method.label, "source": method.source, "edits": dict(method.edits), "file": None}
    one = steering(asked.method).configured(getattr(study, asked.method), directory)
    edited = {name: getattr(one, name) for name in ("site", "operation", "positions", "together")}
    if type(one).layer_sets not in (SteeringMethod.layer_sets, VectorFileMethod.layer_sets):
        edited["together"] = None
    return found | {
        "label": one.label,
        "source": one.source,
        "edits": edited,
        "file": _file(asked, one),
    }


def _of(table: pd.DataFrame, label: str) -> list[dict[str, Any]]:
    """The rows of one method."""
    return [_plain(row) for row in table[table["method"] == label].to_dict("records")]


def _metrics(cells: pd.DataFrame, row: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """{metric and what of it: value and interval} of one row of verdicts. cells: of the methods on question sets."""
    mine = cells[cells["row"] == row_of(row["method"], row["model"], row["on"])]
    found = {cell.column: {"value": cell.value, "low": cell.ci_low, "high": cell.ci_high} for cell in mine.itertuples()}
    return {column: _plain(ends) for column, ends in found.items()}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with None for numbers that are missing, which JSON does not have."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def _provenance(asked: Asked, study: Study, registry: Registry, study_file: Path, directory: Path) -> dict[str, Any]:
    layout = Layout(study.study, directory)
    audit = Audit(study, registry, layout)
    names = tables(asked)
    found = audit.chain(*names)
    wrong = [finding.as_dict() for finding in found if finding.state != INTACT]
    records, seconds = {}, 0.0
    for path in sorted({finding.path for finding in found} & audit.producers.keys()):
        record = read_record(audit.producers[path])
        if record.get("step") in STEPS:
            records[path] = {"key": record["key"], "sha256": record["outputs"][path]}
            seconds += record["made"].get("seconds", 0.0)
    return {
        **environment(),
        "study": study.study,
        "study_file": relative(study_file, directory),
        "configuration": asked.study(),
        "models": {name: _model(registry, layout, name) for name in asked.models},
        "table": ", ".join(path.as_posix() for path in targets(layout, asked)),
        "results": records,
        "seconds_of_steps": round(seconds, 1),
        "audit": {
            "files": len(found),
            "wrong": wrong,
            "command": " && ".join(
                f"offcourse audit {name} --configfile {relative(study_file, directory)}" for name in names
            ),
        },
    }


def _model(registry: Registry, layout: Layout, name: str) -> dict[str, Any]:
    """Which model it was: its repository and commit, the digest of its weights, and the sha256 of its files."""
    manifest = read_manifest(layout.model_folder(name))
    return {"identity": registry.model(name).identity, "weights": manifest["digest"], "sha256": manifest["files"]}


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
        "weights": found.weights,
        "made": dict(found.made),
    }


def title(judged: Mapping[str, Any]) -> str:
    """What was judged, in a line."""
    if judged["file"]:
        return judged["file"]["name"]
    return f"{judged['label']} ({judged['source']})"


def edits(judged: Mapping[str, Any]) -> str:
    """What is edited, in a sentence's words."""
    what, site = judged["edits"], {"residual": "residual stream", "heads": "outputs of heads", "logits": "logits"}
    if what["site"] == "prompt":
        return "a text in front of the prompt"
    tokens = {
        "last": "the last token of the prompt",
        "prompt": "every token of the prompt",
        "answer": "every token that predicts the answer",
        "all": "every token",
        "first": "the first tokens",
    }
    # None of a method with layer sets of its own.
    how = {True: "all layers together", False: "each layer alone", None: "sets of layers"}[what["together"]]
    if judged["file"] and len(judged["file"]["layers"]) == 1:
        how = f"layer {judged['file']['layers'][0]}"
    if what["site"] == "logits":
        contrast = what["operation"] == "contrast"
        how = "the final layer against an earlier one" if contrast else "behind the last layer"
    return f"{what['operation'].replace('_', ' ')}, {site[what['site']]}, {tokens[what['positions']]}, {how}"


def facts(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(what, number in words) of one row of verdicts, for the card and the page."""
    yield "accuracy", f"{row['unsteered']:.2f} without, {row['steered']:.2f} with, {row['items']} items, held out"
    yield "gain", _with_ends(row, "gain", "+z.2f")
    luck = f"p {_p(row['p_luck_holm'])}, {_with_ends(row, 'over_luck', '+z.2f')} over luck"
    yield "luck", luck + (f", controls {row['control']:.2f}" if row["control"] is not None else "")
    yield (
        "prompting",
        f"{row['prompting']:.2f} (few-shot {row['few_shot']:.2f}), "
        f"{_with_ends(row, 'over_prompting', '+z.2f')} over it",
    )
    elsewhere = "not measured, one task" if row["elsewhere"] is None else _with_ends(row, "elsewhere", "+z.2f")
    yield (
        "harm",
        f"perplexity times {_with_ends(row, 'perplexity_ratio', '.2f')}, divergence {row['divergence']:.3g} nats, "
        f"other tasks {elsewhere}; right answers that break: {_share(row['broken'])} on this task, "
        f"{_share(row['broken_elsewhere'])} on others",
    )
    if row["draws"] > 1:
        yield (
            "reliability",
            f"{row['draws']} draws: accuracy spreads by {row['spread']:.2f}, cosine {row['cosine']:.2f}, answers flip "
            f"on {_share(row['flips'])}",
        )
    else:
        yield "reliability", "one set of vectors; nothing was drawn again"
    # A card of an earlier version has no precisions.
    if own := row.get("precision"):
        others = [f"{name} {row[name]:.2f}" for name in PRECISIONS if name != own and row[name] is not None]
        yield (
            "precision",
            f"{own} {row[own]:.2f}, {', '.join(others)}; cosine {row['precision_cosine']:.4f}, answers flip on "
            f"{_share(row['precision_flips'])}",
        )
    yield "setting", setting(row["strength"], row["layer"], row["layers"])


def benefit_facts(row: Mapping[str, Any], method: str) -> Iterator[tuple[str, str]]:
    """(what, number in words) of one row of verdicts without a measure of harm. method: the name of the method."""
    asked = row["unit"] == QUESTION_SET
    items, why = ("questions", "on question sets") if asked else ("items", "for this method")
    if method in PAPER_METHODS:
        why = "for this method"
    yield (
        row["measure"],
        f"{row['unsteered']:.2f} without, {row['steered']:.2f} with, {row['items']} {items}, held out",
    )
    yield "gain", _with_ends(row, "gain", "+z.2f")
    luck = f"p {_p(row['p_luck_holm'])}, {_with_ends(row, 'over_luck', '+z.2f')} over luck"
    yield (
        "luck",
        f"{luck}, controls " + (f"{row['control']:.2f}" if row["control"] is not None else f"not measured {why}"),
    )
    if row["prompting"] is None:
        yield "prompting", f"not measured on these {items}"
    else:
        few_shot = f" (few-shot {row['few_shot']:.2f})" if row["few_shot"] is not None else ""
        yield "prompting", f"{row['prompting']:.2f}{few_shot}, {_with_ends(row, 'over_prompting', '+z.2f')} over it"
    for column, cell in row["metrics"].items():
        if column.endswith(" change") and not column.startswith(f"{row['measure']} "):
            metric = column.removesuffix(" change")
            sides = [row["metrics"][f"{metric} {what}"]["value"] for what in ("unsteered", "steered")]
            change = {"change": cell["value"], "change_low": cell["low"], "change_high": cell["high"]}
            yield metric, f"{sides[0]:.2f} without, {sides[1]:.2f} with, {_with_ends(change, 'change', '+z.2f')}"
    yield "harm", f"not measured {why}"
    yield "reliability", f"not measured {why}: nothing was drawn again"
    yield "setting", row["setting"]


def _with_ends(row: Mapping[str, Any], name: str, form: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return "not known" if value is None else f"{value:{form}} [{low:{form}}, {high:{form}}]"


def _p(value: float | None) -> str:
    return "not known" if value is None else "below 0.001" if value < 0.001 else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "none to break" if value is None else f"{100 * value:.0f} %"


def lines(card: Mapping[str, Any]) -> Iterator[str]:
    """The card as lines of text."""
    yield f"{title(card['judged'])}: {edits(card['judged'])}"
    for row in card["pairs"]:
        yield f"{row['model']}, {row['task']}: {row['verdict'].upper()}"
        yield from (f"  {what:12}{words}" for what, words in facts(row))
    for row in card["benefits"]:
        yield f"{row['model']}, {row['on']}: {row['verdict'].upper()}"
        yield from (f"  {what:12}{words}" for what, words in benefit_facts(row, card["judged"]["method"]))
