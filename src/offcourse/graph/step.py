"""The declaration of a step: what the step computes per model and unit, and from which settings and inputs.

A unit is a task or a question set; a step has one result per model and unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandera.pandas as pa

from offcourse.data.registry import Registry
from offcourse.data.rows import QuestionSet, Task
from offcourse.study.config import Study

# Code that a job hands to a step, so that the step need not import it.
_READ = ("offcourse.run.context:StepContext.prompts", "offcourse.run.context:StepContext.tensors")
_TOKENIZER = ("offcourse.models.tokenizer", "offcourse.run.context:StepContext.tokenizer")
_MODEL = ("offcourse.engine", "offcourse.models.load", "offcourse.run.context:StepContext.engine", *_READ)
HANDED = {
    "tokenizer": _TOKENIZER,
    "weights": _READ,
    "model": _MODEL,
    "model and tokenizer": (*_MODEL, *_TOKENIZER),
}


@dataclass(frozen=True)
class Step:
    """One computing step.

    target: "module:function" that computes one unit (a task or a question set); what it reaches is the step's code.
    inputs: {upstream step: kinds of prompts that are read from its result} (empty: the whole file).
    methods: the methods that need the step; it runs if the study has one of them. Units of `dola` and `logit_lens` are
        question sets, those of all other methods tasks.
    columns: columns of the unit's row (tasks.tsv or questions.tsv) that the step reads, beside words and questions.
    settings, switches: keys of the configuration and switches of `protocol` that the step reads. A key belongs to the
        section of the step's method; a step of several methods writes `section.key` and reads the sections of the
        study's methods.
    reads: "tokenizer", "weights" (some tensors, no forward), "model" or "model and tokenizer".
    job: name of the rule that runs the step ("": the step's name).
    more_code: modules that `target` calls without importing them.
    asked_by: name of a setting in the method's section; the step runs if the setting is a filled list, or a number
        above 1. The units of a step that is asked by `questions` are the sets of that list.
    reads_logits: whether the step reads probabilities or hits through the engine, in the precision that
        `protocol.logits_dtype` says.
    borrows: {upstream step: control}. If the study lists that control under `asked_by`, the step also reads this
        upstream step's result for the study's NEXT task (used by the control `other_task`).
    others: upstream steps whose results for all OTHER units are read as well.
    tracked: files of `resources` that the step reads; its key holds what it reads of them (`keys.tracked_digests`).
    reads_words: whether a step with upstream steps also reads the words of its unit.
    """

    name: str
    target: str
    suffix: str
    schema: pa.DataFrameSchema | None
    inputs: Mapping[str, tuple[str, ...]]
    columns: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("function_vectors",)
    reads: str = "model"
    job: str = ""
    more_code: tuple[str, ...] = ()
    asked_by: str = ""
    reads_logits: bool = False
    borrows: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    tracked: tuple[str, ...] = ()
    reads_words: bool = False

    @property
    def rule(self) -> str:
        """Name of the rule that runs the step."""
        return self.job or self.name

    @property
    def script(self) -> str:
        """Name of the rule's script in workflow/scripts, without .py."""
        return "step"

    @property
    def runs_model(self) -> bool:
        """Whether the step makes forward passes."""
        return self.reads.startswith("model")

    @property
    def reads_weights(self) -> bool:
        """True if the step belongs to the model's single Slurm job.

        Steps that need only the tokenizer are submitted on their own.
        """
        return self.reads != "tokenizer"

    @property
    def is_leaf(self) -> bool:
        """Whether the step reads the words or questions of its unit themselves."""
        return self.reads_words or not self.inputs

    @property
    def on_questions(self) -> bool:
        """Whether the step's units are question sets."""
        return self.methods[0] in ("dola", "logit_lens") or self.asked_by == "questions"

    def units(self, study: Study) -> list[str]:
        """Names of the tasks or question sets that the step computes for each of its models, one file each."""
        if self.asked_by == "questions":
            return list(getattr(study, self.methods[0]).questions)
        if self.on_questions:
            return {"dola": study.dola_questions, "logit_lens": study.lens_questions}[self.methods[0]]
        # Snakemake needs outputs even for the rules of a method that the study does not have.
        return study.tasks_of(*self.methods) or study.tasks

    def runs_in(self, study: Study) -> bool:
        """Whether a study has the step."""
        if not set(self.methods) & set(study.methods) or not (self.on_questions or study.tasks):
            return False
        if not self.asked_by:
            return True
        asked = getattr(getattr(study, self.methods[0]), self.asked_by)
        return asked > 1 if isinstance(asked, int) else bool(asked)

    def more_precisions(self, study: Study) -> list[str]:
        """The precisions beside its method's own in which the step runs the model."""
        return list(getattr(study, self.methods[0]).precisions) if self.asked_by == "precisions" else []

    def next_unit(self, study: Study, unit: str) -> str:
        """The unit after `unit` in the study's order; after the last comes the first."""
        units = self.units(study)
        return units[(units.index(unit) + 1) % len(units)]

    def other_units(self, study: Study, unit: str) -> list[str]:
        """The step's units without `unit`, in the study's order."""
        return [other for other in self.units(study) if other != unit]

    def upstream(self, study: Study, unit: str) -> dict[str, tuple[str, str]]:
        """{name in the key: (step, unit)} of the other steps' results from which one unit is computed."""
        found = {name: (name, unit) for name in self.inputs}
        for other in self.other_units(study, unit) if self.others else ():
            found |= {f"{name} of {other}": (name, other) for name in self.others}
        for name, need in self.borrows.items():
            if need in getattr(getattr(study, self.methods[0]), self.asked_by):
                other = self.next_unit(study, unit)
                found[f"{name} of {other}"] = (name, other)
        return found

    def unit(self, registry: Registry, name: str) -> Task | QuestionSet:
        """The registry's row of one unit."""
        return registry.question_set(name) if self.on_questions else registry.task(name)

    @property
    def reads_tokenizer(self) -> bool:
        """Whether the step turns text into tokens, or tokens into text."""
        return self.reads.endswith("tokenizer")

    def cells(self, registry: Registry, unit: str) -> dict[str, str]:
        """The cells of a unit's row that the step reads."""
        row = self.unit(registry, unit)
        return {column: getattr(row, column) for column in self.columns}

    @property
    def written(self) -> dict[str, str]:
        """{column: type} of the step's table; empty for a step that writes tensors."""
        return {name: str(column.dtype) for name, column in self.schema.columns.items()} if self.schema else {}

    @property
    def targets(self) -> tuple[str, ...]:
        """Where the step's code begins: its own target, and code that the job hands to it."""
        return (self.target, *self.more_code, *HANDED[self.reads])

    def parameters(self, study: Study) -> dict[str, Any]:
        """The part of the configuration that this step reads, as plain JSON values."""
        settings = {}
        for key in self.settings:
            section, _, name = key.rpartition(".")
            if not section or section in study.methods:
                settings[key] = getattr(getattr(study, section or self.methods[0]), name)
        switches = study.protocol.model_dump(include=set(self.switches))
        # A switch and a setting can share a name (`length_bias`).
        return settings | {
            f"{name} (protocol)" if name in settings else name: value for name, value in switches.items()
        }
