"""A method's vectors of a study, as a vector file."""

import json
from collections.abc import Sequence
from pathlib import Path

from offcourse.data.architectures import architecture
from offcourse.data.names import STEERING
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError, did_you_mean, listed
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.methods.steering import operation
from offcourse.models.manifest import CONFIG, weights_digest
from offcourse.provenance.records import read_record
from offcourse.steering import steering
from offcourse.study.config import Study
from offcourse.vectors import files
from offcourse.vectors.facts import WORDS, VectorFile

WITH_VECTORS = tuple(name for name in STEERING if name in STEPS)


def vectors_of(
    study: Study,
    registry: Registry,
    layout: Layout,
    method: str,
    model: str,
    task: str,
    layers: Sequence[int] | None = None,
    strength: float | None = None,
    positions: str | None = None,
) -> VectorFile:
    """The vectors that a study's method has for a model and task, with the facts of the method.

    layers: only these blocks. strength: the vectors as the method applies them at this strength; None leaves them as
    they were built. positions: other positions than the method's, which makes another method of the vectors.

    Raises `OffcourseError` for a method, model, task or block that the study does not have, and a result that is not
    there.
    """
    from safetensors.torch import load_file

    if method not in WITH_VECTORS:
        raise OffcourseError(f"no method {method!r} has vectors to export; {did_you_mean(method, WITH_VECTORS)}")
    for key, name, known in (
        ("method", method, study.methods),
        ("model", model, study.models_of(method)),
        ("task", task, study.tasks_of(method)),
    ):
        if name not in known:
            raise OffcourseError(f"study {study.study} does not have {method} for the {key} {name!r}; "
                                 f"{did_you_mean(name, known)}")  # fmt: skip
    path = layout.artefact(method, STEPS[method].suffix, model, task)
    if not path.exists():
        raise OffcourseError(f"{path} is not there yet. Run the study, which makes it.")
    record = read_record(layout.record(method, model, task))
    configured = steering(method).configured(getattr(study, method), layout.base)
    built = load_file(path)["vectors"]
    if positions is not None and positions not in WORDS["positions"]:
        raise OffcourseError(f"no positions are called {positions!r}; {did_you_mean(positions, WORDS['positions'])}")
    if "first" in (positions, configured.positions) and positions not in (None, configured.positions):
        raise OffcourseError(
            f"{method} has positions {configured.positions} and cannot be exported at {positions}: only vectors of "
            "positions first have a row for each token. Leave --positions out."
        )
    if strength not in (None, 1) and operation(configured) == "project_out":
        raise OffcourseError(
            f"{method} projects directions out, and a file of directions does not say which share is taken away. Leave "
            f"--strength out, and say --strengths {strength:g} where the file is judged."
        )
    if strength is not None:
        built = configured.apply(built, strength)
    sets = configured.layer_sets(len(built))
    edited = set().union(*sets)
    if several := len(sets) > 1 and any(len(some) > 1 for some in sets):
        if set(layers or ()) not in map(set, sets):
            raise OffcourseError(
                f"{method} edits the blocks {' or '.join(','.join(map(str, some)) for some in sets)} together, and a "
                "file has the blocks of one edit. Name the blocks of one edit, with --layers."
            )
        edited, layers = set(layers), None
    # A zero that is added changes nothing.
    kept = [layer for layer in sorted(edited) if built[layer].any() or operation(configured) != "add"]
    numbers = {layer: built[layer].float().numpy() for layer in kept}
    if missing := [layer for layer in layers or () if layer not in numbers]:
        raise OffcourseError(
            f"{method} uses no vector of block {missing[0]} in {path}: it uses those of "
            f"{listed(map(str, numbers)) or 'no block'}."
        )
    row = registry.model(model)
    return VectorFile(
        {layer: numbers[layer] for layer in sorted(layers or numbers)},
        operation=operation(configured),
        site=configured.site,
        positions=positions or configured.positions,
        together=several or len(sets) == 1,
        model=row.identity,
        weights=weights_digest(layout.model_folder(model)),
        made={"method": method, "task": task, "strength": strength, "key": record["key"], "study": study.study},
    )


def export(path: Path, vectors: VectorFile, kind: str, registry: Registry, layout: Layout, model: str) -> None:
    """Write the vectors in one of `vectors.files.FORMATS`.

    Raises `OffcourseError` for a format that cannot say them.
    """
    if kind not in files.FORMATS:
        raise OffcourseError(f"no format is called {kind!r}; {did_you_mean(kind, files.FORMATS)}")
    row = architecture(registry.model(model).architecture)
    # A hook point starts below the model that the unembedding is put on.
    blocks = row.blocks.partition(".")[2] or row.blocks
    hint = json.loads((layout.model_folder(model) / CONFIG).read_text(encoding="utf-8"))["model_type"]
    files.write(path, vectors, kind, hint=hint, blocks=blocks)


def layers_of(text: str) -> list[int] | None:
    """The blocks that a text names, as "3", "1-5" or "1-5,9"; None for an empty text.

    Raises `OffcourseError` for another text.
    """
    found: list[int] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) < int(first):
            raise OffcourseError(f"--layers: expected blocks such as 3, 1-5 or 1-5,9, got {text!r}.")
        found += range(int(first), int(last or first) + 1)
    return sorted(set(found)) or None
