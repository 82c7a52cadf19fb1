"""Views of made-up results folders, as the workflow hands them to tables and figures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from offcourse.analysis.view import Results, ResultsView, Scope
from offcourse.data.registry import Registry
from offcourse.data.rows import Model, QuestionSet, Task
from offcourse.figures import style
from offcourse.graph.catalogue import Figure
from offcourse.graph.products import DRAWN_BY, PRODUCTS
from offcourse.run.products import code_of
from offcourse.study.protocol import Protocol

METHODS = {"fv": "function_vectors", "tv": "task_vectors", "dola": "dola", "lens": "logit_lens"}


def row(kind: type, **cells: Any) -> Any:
    """A row of a tracked table that knows only some cells."""
    return kind(**{field.name: "" for field in fields(kind)} | cells)


def results(
    folder: Path,
    scopes: Mapping[str, Scope] | None = None,
    groups: Mapping[str, str] | None = None,
    forms: Sequence[tuple[str, str]] = (),
    pairs: Sequence[tuple[str, str]] = (),
    settings: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    **more: Any,
) -> Results:
    """What a made-up folder covers. Of `more`, fv, tv, dola and lens are scopes; switches of the protocol go by name.

    groups: of tasks. forms: of question sets. pairs: (base, post-trained) models. settings: of function vectors.
    labels: of steering methods.
    """
    scopes = {METHODS[name]: more.pop(name) for name in METHODS if name in more} | dict(scopes or {})
    protocol = Protocol().model_copy(update={name: more.pop(name) for name in Protocol.model_fields if name in more})
    models = more.pop("models", list(dict.fromkeys(name for its, _ in scopes.values() for name in its)))
    units = list(dict.fromkeys(unit for _, its in scopes.values() for unit in its))
    on_questions = [unit for method in ("dola", "logit_lens") for unit in scopes.get(method, ((), ()))[1]]
    asked = dict.fromkeys([*dict(forms), *on_questions])
    bases = {post: base for base, post in pairs}
    registry = Registry(
        {name: row(Model, name=name, label=_label(folder, name), base=bases.get(name, "")) for name in models},
        {name: row(Task, name=name, group=(groups or {}).get(name, "linguistic")) for name in units},
        {name: row(QuestionSet, name=name, label=name.title(), form=dict(forms).get(name, "")) for name in asked},
        {},
    )

    def artefacts(step: str) -> list[str]:
        return [path.relative_to(folder).as_posix() for path in Path(folder).glob(f"*/{step}/*")]

    def shown() -> list[str]:
        made = [path for kind in ("tables", "figures") for path in (Path(folder) / kind).rglob("*")]
        return [path.relative_to(folder).as_posix() for path in made]

    own = {"n_heads": [], "large": None, "controls": []} | dict(settings or {})
    known = {"function_vectors": own}
    return Results(Path(folder), models, scopes, artefacts, registry, protocol, known, shown=shown, **more)


def _label(folder: Path, model: str) -> str:
    """The label that `write_study` noted, or the model's name."""
    path = Path(folder) / model / "model.json"
    return json.loads(path.read_text(encoding="utf-8")).get("label", model) if path.exists() else model


def view_of(rule: str, folder: Path, model: str | None = None, **more: Any) -> ResultsView:
    """The view that a product is handed of a made-up folder."""
    product = PRODUCTS[rule]
    labels = more.pop("labels", None)
    if labels:
        product = SimpleNamespace(**vars(product) | {"labels": labels})
    return ResultsView(product, results(folder, **more), model)


def write(rule: str, folder: Path, out: Path, **more: Any) -> None:
    """Write a table of a made-up folder."""
    code_of(PRODUCTS[rule])(view_of(rule, folder, **more), out)


def page(
    figure: str,
    folder: Path,
    model: str | None = None,
    task: str | None = None,
    questions: str | None = None,
    **more: Any,
) -> style.Page:
    """One picture of a made-up folder."""
    product = DRAWN_BY[figure]
    shown = Figure(figure=figure, model=model, task=task, questions=questions)
    return code_of(product)(view_of(product.rule, folder, model if product.per_model else None, **more), shown)


def draw(figure: str, folder: Path, stem: Path, **more: Any) -> None:
    """Draw one picture of a made-up folder."""
    style.draw(page(figure, folder, **more), stem)
