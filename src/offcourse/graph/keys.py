"""The steps of a study, and the key of each result.

A key is a digest of everything that a result depends on: code, settings, inputs, weights, package versions. The store
keeps a result as a shard under its key.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from offcourse.data.architectures import architecture, path_of
from offcourse.data.fetched import fetched_path
from offcourse.data.names import RESOURCES, STEERING
from offcourse.data.passages import PASSAGES, neutral
from offcourse.data.questions import questions_sha256
from offcourse.data.registry import Registry
from offcourse.data.tasks import release_list, word_list_sha256
from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.graph.step import Step
from offcourse.graph.steps import STEPS
from offcourse.layout import Layout
from offcourse.models.fetch import asked_of
from offcourse.models.manifest import loaded_digest, tokenizer_digest
from offcourse.schemas.io import read_unchecked
from offcourse.store.fingerprint import modules_behind, versions_behind
from offcourse.study.config import Study

# Where the code begins that a job hands to the steps of a model on the plain path.
PLAIN = "offcourse.run.plain_context:PlainContext.engine"


def steps_of(study: Study, model: str | None = None) -> dict[str, Step]:
    """The steps of the study's methods, in the order in which they can run. model: only steps that run on it."""
    steps = {name: step for name, step in STEPS.items() if step.runs_in(study)}
    return {name: step for name, step in steps.items() if model is None or model in study.models_of(*step.methods)}


def units_of(study: Study) -> Iterator[tuple[str, Step, str]]:
    """(model, step, unit) of every result of a study. A result comes after the results that it is made from."""
    for model in study.models:
        for step in steps_of(study, model).values():
            for unit in step.units(study):
                yield model, step, unit


def checked_by(study: Study, model: str) -> Step:
    """The step in whose precision a model is checked: the model's first step that makes forward passes."""
    return next((step for step in steps_of(study, model).values() if step.runs_model), STEPS["icl"])


def _lists(step: Step, study: Study, unit: str) -> list[str]:
    """The methods whose word list of task `unit` a step reads; steering methods read the list of function vectors."""
    named = [method for method in step.methods if unit in study.tasks_of(method)]
    return ["function_vectors" if method in STEERING else method for method in named]


def leaf_sha256(step: Step, study: Study, registry: Registry, unit: str) -> dict[str, str]:
    """{method: digest of the words or questions that the step reads}, for a step that reads them."""
    if step.on_questions:
        [method] = step.methods
        limit = getattr(study, method).limit
        shots = int(study.protocol.factor_shots) if "factor_shots" in step.switches else 0
        return {method: questions_sha256(registry.question_set(unit), limit, shots, RESOURCES)}
    return {
        method: word_list_sha256(registry.task(unit), study.data, RESOURCES, method)
        for method in _lists(step, study, unit)
    }


def leaf_files(
    step: Step, study: Study, registry: Registry, unit: str, downloads: Path = Path("downloads")
) -> list[Path]:
    """The downloaded files behind `leaf_sha256`. Tracked files are left out, since digests of their rows suffice."""
    if step.on_questions:
        fetched = registry.question_set(unit).fetched
        return [fetched_path(fetched, downloads)] if fetched else []
    if study.data != "release":
        return []
    lists = {release_list(registry.task(unit), method) for method in _lists(step, study, unit)}
    return [fetched_path(spec, downloads) for spec in sorted(lists)]


def release_lists(study: Study, registry: Registry) -> list[str]:
    """Paths, in the authors' repository, of the word lists that the study reads."""
    if study.data != "release":
        return []
    named = {(name, method) for method in study.task_methods for name in study.tasks_of(method)}
    return sorted({release_list(registry.task(name), method) for name, method in named})


def release_questions(study: Study, registry: Registry) -> list[str]:
    """The question sets that are fetched for the study: paths in the authors' repository, and sets of the hub."""
    names = {name for step in steps_of(study).values() if step.on_questions for name in step.units(study)}
    return sorted({registry.question_set(name).fetched for name in names} - {""})


# What each rule fetches.
FETCHED = {"fetch_words": release_lists, "fetch_questions": release_questions}


def prepared_from(registry: Registry, model: str) -> str:
    """A digest of what a model's folder is prepared from: its row's source, repo and revision, and pinned packages."""
    return asked_of(registry, registry.model(model))


def class_facts(registry: Registry, model: str) -> dict[str, Any]:
    """The row of a model's class in the table of classes, as plain JSON.

    Of a class that does not run with rows, also its path and the code of the plain path, which no step's code names.
    """
    name = registry.model(model).architecture
    facts = json.loads(json.dumps(asdict(architecture(name))))
    if path_of(name) == "rows":
        return facts
    return facts | {"path": path_of(name), "code": modules_behind(PLAIN), "packages": versions_behind(PLAIN)}


def dtype_of(study: Study, registry: Registry, model: str, step: Step) -> str:
    """The dtype of a step's method in the study; the model's own if the study says auto."""
    asked = study.dtype_of(step.methods[0])
    return registry.model(model).dtype if asked == "auto" else asked


def dtypes_of(study: Study, registry: Registry, model: str, step: Step) -> list[str]:
    """All precisions in which a step runs the model, the method's own first."""
    return [dtype_of(study, registry, model, step), *step.more_precisions(study)]


def numerics_of(study: Study, registry: Registry, model: str, step: Step) -> dict[str, Any]:
    """The entries of `numerics` that decide a result: precision, attention and `max_rows`; and `logits_dtype`.

    The shape of a matrix product decides how it rounds. Another `max_rows` changes the last digits in float32, and hits
    in half precision (docs/gpu.md). The precision of logits counts where it differs from the model's, in any of the
    step's precisions; those beside the method's own are among the step's parameters.
    """
    dtypes = dtypes_of(study, registry, model, step)
    found = {"dtype": dtypes[0], "attention": study.numerics.attention, "max_rows": study.numerics.max_rows}
    if step.reads_logits and set(dtypes) != {"float32"}:
        found["logits_dtype"] = study.protocol.logits_dtype
    return found


def key_parts(
    step: Step,
    study: Study,
    registry: Registry,
    layout: Layout,
    model: str,
    unit: str,
    digests: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """{name: plain JSON value} of everything that a result depends on; its digest is the shard's key.

    digests: {input: digest} of inputs that are not read, because their digest is known.

    Raises `OffcourseError` when an input does not exist yet or cannot be read.
    """
    study, digests = study.sized(registry.model(model).parameters), digests or {}
    inputs = {
        name: digests.get(name) or _input_digest(layout.artefact(up, STEPS[up].suffix, model, of), step.inputs[up])
        for name, (up, of) in step.upstream(study, unit).items()
    }
    if step.is_leaf:
        leaf = leaf_sha256(step, study, registry, unit)
        inputs |= {f"words of {method}": sha for method, sha in leaf.items()}
    inputs |= tracked_digests(step, study)
    parts = {
        "step": step.name,
        "task": unit,
        "code": modules_behind(*step.targets),
        "packages": versions_behind(*step.targets),
        "parameters": step.parameters(study),
        "inputs": inputs,
        "row": step.cells(registry, unit),
        "columns": step.written,
        "weights": loaded_digest(layout.model_folder(model)),
    }
    if step.reads_tokenizer:
        parts["tokenizer"] = tokenizer_digest(layout.model_folder(model))
    if step.reads_weights:
        parts["class"] = class_facts(registry, model)
    if step.runs_model:
        parts |= numerics_of(study, registry, model, step)
    return parts


def tracked_digests(step: Step, study: Study) -> dict[str, str]:
    """{tracked file: digest of what the step reads of it}. Of neutral passages these are the first `passages`."""
    found = {name: sha256(RESOURCES / name) for name in step.tracked if name != PASSAGES}
    if PASSAGES in step.tracked:
        read = neutral(step.parameters(study)["passages"], RESOURCES)
        found[PASSAGES] = hashlib.sha256(json.dumps(read).encode()).hexdigest()
    return found


def rule_params(step: Step, study: Study, registry: Registry, model: str) -> dict[str, Any]:
    """The `params` of a step's rule: everything that the results depend on and that is known before any step ran."""
    study = study.sized(registry.model(model).parameters)
    code = {"code": modules_behind(*step.targets), "packages": versions_behind(*step.targets), "columns": step.written}
    if step.reads_weights:
        code["class"] = class_facts(registry, model)
    read = step.parameters(study)
    if step.columns:
        read["rows"] = {unit: step.cells(registry, unit) for unit in step.units(study)}
    if step.tracked:
        read["tracked"] = tracked_digests(step, study)
    params = {
        "code": _short(code),
        "parameters": json.dumps(read, sort_keys=True),
        "model": prepared_from(registry, model),
    }
    if step.is_leaf:
        digests = {unit: leaf_sha256(step, study, registry, unit) for unit in step.units(study)}
        params["words"] = _short(digests)
    if step.runs_model:
        params["numerics"] = " ".join(map(str, numerics_of(study, registry, model, step).values()))
    return params


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _input_digest(path: Path, kinds: tuple[str, ...]) -> str:
    """sha256 of a file. kinds: of a prompts file, only the rows of these kinds count."""
    if not path.exists():
        raise OffcourseError(f"{path} is not there yet: the step that makes it has not run.")
    if not kinds:
        return sha256(path)
    found = path.stat()
    frame = _prompts(path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    rows = frame[frame["kind"].isin(kinds)].to_json(orient="records", force_ascii=False)
    return hashlib.sha256(rows.encode()).hexdigest()


@lru_cache(maxsize=32)
def _prompts(path: Path, *marks: int) -> pd.DataFrame:
    """The prompts of a file. Several steps read some each; it is read again when its size, times or inode change."""
    return read_unchecked(path)
