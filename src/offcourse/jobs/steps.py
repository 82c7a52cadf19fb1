"""The steps of the workflow that compute per model and task: what each reads, and the key of its shards."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from offcourse import artefacts
from offcourse.errors import OffcourseError
from offcourse.layout import Layout
from offcourse.models.fetch import weights_digest
from offcourse.registry import RESOURCES, Registry
from offcourse.store.fingerprint import modules_behind, versions_behind
from offcourse.study.config import Study
from offcourse.tasks import word_list_sha256

HANDED = {
    "tokenizer": ("offcourse.models.tokenizer",),
    "weights": (),
    "model": ("offcourse.engine", "offcourse.models.load"),
}


@dataclass(frozen=True)
class Step:
    """One computing step.

    target: "module:function" that computes one task; its import closure is the step's code.
    inputs: upstream steps, each with the kinds of prompts that are read of it (empty: the whole file).
    settings, switches: keys of `function_vectors` and switches of `protocol` that the step reads.
    reads: "tokenizer", "weights" (some tensors, no forward) or "model".
    """

    name: str
    target: str
    suffix: str
    schema: pa.DataFrameSchema | None
    inputs: Mapping[str, tuple[str, ...]]
    settings: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    reads: str = "model"

    @property
    def targets(self) -> tuple[str, ...]:
        """Where the step's code begins: its own module, and what a job hands to it (which it need not import)."""
        return (self.target, *HANDED[self.reads])

    def parameters(self, study: Study) -> dict[str, Any]:
        """The part of the configuration that this step reads, as plain JSON values."""
        settings = study.function_vectors.model_dump(include=set(self.settings))
        return settings | study.protocol.model_dump(include=set(self.switches))


STEPS = {
    step.name: step
    for step in (
        Step(
            "prompts",
            "offcourse.methods.prompts:compute",
            ".parquet",
            artefacts.PROMPTS,
            inputs={},
            settings=("shots", "trials", "test_items"),
            switches=("splits", "sampling", "head_read_position"),
            reads="tokenizer",
        ),
        Step(
            "icl",
            "offcourse.methods.icl:compute",
            ".parquet",
            artefacts.ICL,
            inputs={"prompts": ("icl",)},
        ),
        Step(
            "head_means",
            "offcourse.methods.head_means:compute",
            ".safetensors",
            None,
            inputs={"prompts": ("head_mean",)},
        ),
        Step(
            "cie",
            "offcourse.methods.cie:compute",
            ".parquet",
            artefacts.CIE,
            inputs={"prompts": ("cie",), "head_means": ()},
            switches=("cie_output_bias",),
        ),
        Step(
            "function_vectors",
            "offcourse.methods.function_vectors:compute",
            ".safetensors",
            None,
            inputs={"head_means": (), "cie": ()},
            settings=("n_heads",),
            switches=("fv_output_bias",),
            reads="weights",
        ),
        Step(
            "fv_sweep",
            "offcourse.methods.fv_sweep:compute",
            ".parquet",
            artefacts.FV_SWEEP,
            inputs={"prompts": ("query",), "function_vectors": ()},
            settings=("strengths",),
        ),
    )
}


def dtype_of(study: Study, registry: Registry, model: str) -> str:
    """The study's dtype, or the model's own when it says auto."""
    asked = study.numerics.dtype
    return registry.model(model).dtype if asked == "auto" else asked


def key_parts(step: Step, study: Study, registry: Registry, layout: Layout, model: str, task: str) -> dict[str, Any]:
    """Everything that a shard is a function of, by name (plain JSON).

    Raises `OffcourseError` when an input is not there yet.
    """
    inputs = {
        name: _input_digest(layout.artefact(name, STEPS[name].suffix, model, task), kinds)
        for name, kinds in step.inputs.items()
    }
    if not step.inputs:
        inputs["words"] = word_list_sha256(registry.task(task), study.data, RESOURCES, layout.downloads)
    parts = {
        "step": step.name,
        "task": task,
        "code": modules_behind(*step.targets),
        "packages": versions_behind(*step.targets),
        "parameters": step.parameters(study),
        "inputs": inputs,
        "weights": weights_digest(layout.model_folder(model)),
    }
    if step.reads == "model":
        parts |= {"dtype": dtype_of(study, registry, model), "attention": study.numerics.attention}
    return parts


def rule_params(step: Step, study: Study, registry: Registry, model: str) -> dict[str, Any]:
    """The same dependencies as far as they are known before anything ran, for a rule's `params`."""
    sources = [
        (source.name, source.sha256) for source in registry.sources.values() if model in source.used_by.split(",")
    ]
    row = registry.model(model)
    params = {
        "code": _short({"code": modules_behind(*step.targets), "packages": versions_behind(*step.targets)}),
        "parameters": json.dumps(step.parameters(study), sort_keys=True),
        "model": _short([row.source, row.repo, row.revision, row.architecture, sources]),
    }
    if not step.inputs:
        digests = {task: word_list_sha256(registry.task(task), study.data, RESOURCES) for task in study.tasks}
        params["words"] = _short(digests)
    if step.reads == "model":
        params["numerics"] = f"{dtype_of(study, registry, model)} {study.numerics.attention}"
    return params


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _input_digest(path: Path, kinds: tuple[str, ...]) -> str:
    """sha256 of a file; of a prompts file only the rows of some kinds, so that other rows may change freely."""
    if not path.exists():
        raise OffcourseError(f"{path} is not there yet: the step that makes it has not run.")
    if not kinds:
        return artefacts.sha256(path)
    frame = pd.read_parquet(path)
    frame = frame[frame["kind"].isin(kinds)]
    rows = frame.to_json(orient="records", force_ascii=False)
    return hashlib.sha256(rows.encode()).hexdigest()
