"""The steps of the workflow that compute per model and task: what each reads, and the key of its shards."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from offcourse import artefacts
from offcourse.errors import OffcourseError
from offcourse.layout import Layout
from offcourse.models.fetch import weights_digest
from offcourse.questions import questions_sha256
from offcourse.registry import RESOURCES, QuestionSet, Registry, Task
from offcourse.release import release_path
from offcourse.store.fingerprint import modules_behind, versions_behind
from offcourse.study.config import Study
from offcourse.tasks import release_list, word_list_sha256

HANDED = {
    "tokenizer": ("offcourse.models.tokenizer",),
    "weights": (),
    "model": ("offcourse.engine", "offcourse.models.load"),
    "model and tokenizer": ("offcourse.engine", "offcourse.models.load", "offcourse.models.tokenizer"),
}


@dataclass(frozen=True)
class Step:
    """One computing step.

    target: "module:function" that computes one unit (a task or a question set); its import closure is the step's code.
    inputs: upstream steps, each with the kinds of prompts that are read of it (empty: the whole file).
    methods: what the step belongs to; it runs when the study has one of them. Units of `function_vectors` and
        `task_vectors` are tasks, those of `dola` and `logit_lens` question sets.
    settings, switches: keys of the configuration and switches of `protocol` that the step reads. The keys are those of
        the section called like the method; a step of several methods writes `section.key`, and reads the sections of
        the study's methods.
    reads: "tokenizer", "weights" (some tensors, no forward), "model" or "model and tokenizer".
    job: the rule that runs the step, when it is not called like it.
    asked_by: a list in the method's section; the step runs when it is not empty.
    borrows: upstream steps of which it reads the result of the next task as well, each with the entry of that list
        that needs it.
    """

    name: str
    target: str
    suffix: str
    schema: pa.DataFrameSchema | None
    inputs: Mapping[str, tuple[str, ...]]
    settings: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("function_vectors",)
    reads: str = "model"
    job: str = ""
    asked_by: str = ""
    borrows: Mapping[str, str] = field(default_factory=dict)

    @property
    def rule(self) -> str:
        """Name of the rule that runs the step."""
        return self.job or self.name

    @property
    def runs_model(self) -> bool:
        """Whether the step makes forward passes."""
        return self.reads.startswith("model")

    @property
    def on_questions(self) -> bool:
        """Whether its units are question sets."""
        return self.methods[0] in ("dola", "logit_lens")

    def units(self, study: Study) -> list[str]:
        """Names of the tasks or question sets that the step computes, one file each; the same for all its models."""
        if self.on_questions:
            return {"dola": study.dola_questions, "logit_lens": study.lens_questions}[self.methods[0]]
        # A method that is not run has rules all the same, and these have outputs.
        return study.tasks_of(*self.methods) or study.tasks

    def runs_in(self, study: Study) -> bool:
        """Whether a study has the step."""
        if not set(self.methods) & set(study.methods):
            return False
        return not self.asked_by or bool(getattr(getattr(study, self.methods[0]), self.asked_by))

    def next_unit(self, study: Study, unit: str) -> str:
        """The unit after one, in the study's order; the first after the last."""
        units = self.units(study)
        return units[(units.index(unit) + 1) % len(units)]

    def upstream(self, study: Study, unit: str) -> dict[str, tuple[str, str]]:
        """The (step, unit) of each result of other steps that one unit is computed from, by its name in the key."""
        found = {name: (name, unit) for name in self.inputs}
        for name, need in self.borrows.items():
            if need in getattr(getattr(study, self.methods[0]), self.asked_by):
                other = self.next_unit(study, unit)
                found[f"{name} of {other}"] = (name, other)
        return found

    def unit(self, registry: Registry, name: str) -> Task | QuestionSet:
        """The registry's row of one unit."""
        return registry.question_set(name) if self.on_questions else registry.task(name)

    @property
    def targets(self) -> tuple[str, ...]:
        """Where the step's code begins: its own module, and what a job hands to it (which it need not import)."""
        return (self.target, *HANDED[self.reads])

    def parameters(self, study: Study) -> dict[str, Any]:
        """The part of the configuration that this step reads, as plain JSON values."""
        settings = {}
        for key in self.settings:
            section, _, name = key.rpartition(".")
            if not section or section in study.methods:
                settings[key] = getattr(getattr(study, section or self.methods[0]), name)
        switches = study.protocol.model_dump(include=set(self.switches))
        # A switch may be called like a setting (`length_bias`).
        return settings | {
            f"{name} (protocol)" if name in settings else name: value for name, value in switches.items()
        }


STEPS = {
    step.name: step
    for step in (
        Step(
            "prompts",
            "offcourse.methods.prompts:compute",
            ".parquet",
            artefacts.PROMPTS,
            inputs={},
            methods=("function_vectors", "task_vectors"),
            settings=(
                "function_vectors.shots",
                "function_vectors.trials",
                "function_vectors.test_items",
                "task_vectors.shots",
                "task_vectors.dummy_queries",
                "task_vectors.dev_items",
                "task_vectors.test_items",
                "task_vectors.baseline_items",
            ),
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
        Step(
            "fv_controls",
            "offcourse.methods.fv_controls:compute",
            ".parquet",
            artefacts.FV_CONTROLS,
            inputs={"prompts": ("head_mean", "cie", "query"), "head_means": (), "cie": (), "function_vectors": ()},
            settings=("strengths", "controls", "control_draws"),
            switches=("fv_output_bias",),
            asked_by="controls",
            borrows={"function_vectors": "other_task"},
        ),
        Step(
            "tv_icl",
            "offcourse.methods.tv_icl:compute",
            ".parquet",
            artefacts.ICL,
            inputs={"prompts": ("tv_baseline", "tv_icl")},
            methods=("task_vectors",),
            settings=("synonyms",),
            reads="model and tokenizer",
            job="task_vectors",
        ),
        Step(
            "task_vectors",
            "offcourse.methods.task_vectors:compute",
            ".safetensors",
            None,
            inputs={"prompts": ("tv_test_dummy", "tv_dev_dummy")},
            methods=("task_vectors",),
        ),
        Step(
            "tv_sweep",
            "offcourse.methods.tv_sweep:compute",
            ".parquet",
            artefacts.TV_SWEEP,
            inputs={"prompts": ("tv_test_query", "tv_dev_query"), "task_vectors": ()},
            methods=("task_vectors",),
            settings=("synonyms",),
            reads="model and tokenizer",
            job="task_vectors",
        ),
        Step(
            "dola",
            "offcourse.methods.dola:compute",
            ".parquet",
            artefacts.DOLA,
            inputs={},
            methods=("dola",),
            settings=("limit", "alphas", "buckets", "length_bias"),
            switches=(
                "dola_divergence",
                "dola_premature_norm",
                "dola_mask",
                "score_dtype",
                "length_bias",
                "factor_shots",
            ),
            reads="model and tokenizer",
        ),
        Step(
            "logit_lens",
            "offcourse.methods.logit_lens:compute",
            ".parquet",
            artefacts.LOGIT_LENS,
            inputs={},
            methods=("logit_lens",),
            settings=("limit",),
            reads="model and tokenizer",
            job="readings",
        ),
        Step(
            "apathy",
            "offcourse.methods.apathy:compute",
            ".parquet",
            artefacts.APATHY,
            inputs={},
            methods=("logit_lens",),
            settings=("limit",),
            reads="model and tokenizer",
            job="readings",
        ),
    )
}


def steps_of(study: Study, model: str | None = None) -> dict[str, Step]:
    """The steps of the study's methods, in the order in which they can run; of one model if it is given."""
    steps = {name: step for name, step in STEPS.items() if step.runs_in(study)}
    return {name: step for name, step in steps.items() if model is None or model in study.models_of(*step.methods)}


def checked_by(study: Study, model: str) -> Step:
    """The step whose precision a model is checked in: its first that makes forward passes."""
    return next((step for step in steps_of(study, model).values() if step.runs_model), STEPS["icl"])


def leaf_sha256(
    step: Step, study: Study, registry: Registry, unit: str, downloads: Path = Path("downloads")
) -> dict[str, str]:
    """Digests, by method, of the words or questions that a step without upstream steps reads."""
    if step.on_questions:
        [method] = step.methods
        limit = getattr(study, method).limit
        shots = int(study.protocol.factor_shots) if "factor_shots" in step.switches else 0
        return {method: questions_sha256(registry.question_set(unit), limit, shots, RESOURCES, downloads)}
    return {
        method: word_list_sha256(registry.task(unit), study.data, RESOURCES, downloads, method)
        for method in step.methods
        if unit in study.tasks_of(method)
    }


def leaf_files(
    step: Step, study: Study, registry: Registry, unit: str, downloads: Path = Path("downloads")
) -> list[Path]:
    """The downloaded files among what `leaf_sha256` digests; tracked ones are known by the digest of their rows."""
    if step.on_questions:
        release = registry.question_set(unit).release
        return [release_path(release, downloads)] if release else []
    if study.data != "release":
        return []
    lists = {release_list(registry.task(unit), method) for method in step.methods if unit in study.tasks_of(method)}
    return [release_path(spec, downloads) for spec in sorted(lists)]


def release_lists(study: Study, registry: Registry) -> list[str]:
    """Paths, in the authors' repository, of the word lists that the study reads."""
    if study.data != "release":
        return []
    named = {(name, method) for method in study.task_methods for name in study.tasks_of(method)}
    return sorted({release_list(registry.task(name), method) for name, method in named})


def release_questions(study: Study, registry: Registry) -> list[str]:
    """Paths, in the authors' repository, of the question files that the study reads."""
    names = {name for step in steps_of(study).values() if step.on_questions for name in step.units(study)}
    return sorted({registry.question_set(name).release for name in names} - {""})


def dtype_of(study: Study, registry: Registry, model: str, step: Step) -> str:
    """The dtype that the study asks for in a step's method, or the model's own when it says auto."""
    asked = study.dtype_of(step.methods[0])
    return registry.model(model).dtype if asked == "auto" else asked


def key_parts(
    step: Step,
    study: Study,
    registry: Registry,
    layout: Layout,
    model: str,
    task: str,
    digests: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Everything that a shard is a function of, by name (plain JSON).

    digests: of inputs, by step, that are taken at their word and not read.
    Raises `OffcourseError` when an input is not there yet or cannot be read.
    """
    study, digests = study.sized(registry.model(model).parameters), digests or {}
    inputs = {
        name: digests.get(name) or _input_digest(layout.artefact(up, STEPS[up].suffix, model, unit), step.inputs[up])
        for name, (up, unit) in step.upstream(study, task).items()
    }
    if not step.inputs:
        leaf = leaf_sha256(step, study, registry, task, layout.downloads)
        inputs |= {f"words of {method}": sha for method, sha in leaf.items()}
    parts = {
        "step": step.name,
        "task": task,
        "code": modules_behind(*step.targets),
        "packages": versions_behind(*step.targets),
        "parameters": step.parameters(study),
        "inputs": inputs,
        "weights": weights_digest(layout.model_folder(model)),
    }
    if step.runs_model:
        parts |= {"dtype": dtype_of(study, registry, model, step), "attention": study.numerics.attention}
    return parts


def rule_params(step: Step, study: Study, registry: Registry, model: str) -> dict[str, Any]:
    """The same dependencies as far as they are known before anything ran, for a rule's `params`."""
    sources = [
        (source.name, source.sha256) for source in registry.sources.values() if model in source.used_by.split(",")
    ]
    row = registry.model(model)
    study = study.sized(row.parameters)
    params = {
        "code": _short({"code": modules_behind(*step.targets), "packages": versions_behind(*step.targets)}),
        "parameters": json.dumps(step.parameters(study), sort_keys=True),
        "model": _short([row.source, row.repo, row.revision, row.architecture, sources]),
    }
    if not step.inputs:
        digests = {unit: leaf_sha256(step, study, registry, unit) for unit in step.units(study)}
        params["words"] = _short(digests)
    if step.runs_model:
        params["numerics"] = f"{dtype_of(study, registry, model, step)} {study.numerics.attention}"
    return params


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _input_digest(path: Path, kinds: tuple[str, ...]) -> str:
    """sha256 of a file; of a prompts file only the rows of some kinds, so that other rows may change freely."""
    if not path.exists():
        raise OffcourseError(f"{path} is not there yet: the step that makes it has not run.")
    if not kinds:
        return artefacts.sha256(path)
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise OffcourseError(f"{path} cannot be read ({error}). Run the workflow, which mends it.") from error
    frame = frame[frame["kind"].isin(kinds)]
    rows = frame.to_json(orient="records", force_ascii=False)
    return hashlib.sha256(rows.encode()).hexdigest()
