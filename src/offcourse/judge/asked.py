"""What is to be judged, and the study that answers it."""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from offcourse.data.folds import folds
from offcourse.data.names import RESOURCES, STEERING
from offcourse.data.questions import tracked_questions
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError, did_you_mean, listed
from offcourse.files import sha256, write_whole
from offcourse.judge import paper
from offcourse.judge.paper import PAPER_METHODS
from offcourse.steering import steering
from offcourse.steering.vector_file import NAME as VECTOR_FILE
from offcourse.study.check import check_study, scores_itself
from offcourse.study.config import load_study
from offcourse.study.protocol import Protocol
from offcourse.vectors.files import GIVEN, format_of, read

FOLDER = "judged"
BASELINE = "prompting"
MODEL, TASKS = "smollm2-135m-instruct", ("present-past", "country-capital")
# Enough for an accuracy of two models or tasks to be told apart at 0.3; the default study's number.
ITEMS, PASSAGES, DRAWS, DEMONSTRATIONS, DIRECTIONS = 40, 50, 3, 5, 3
METHODS = tuple(name for name in STEERING if name not in (VECTOR_FILE, BASELINE))
KNOWN = (*METHODS, *PAPER_METHODS)


@dataclass(frozen=True)
class Asked:
    """What is judged: a method of `offcourse.steering` or of the paper, or a vector file.

    settings: the method's section of the study. file: of vectors, None for a method. items: evaluated words per task,
    and questions per set. passages: neutral passages on which harm is measured. operation: of the file. questions:
    question sets. demonstrations: how many the baseline `prompting` has in its longer prompt.
    """

    method: str
    models: Sequence[str]
    tasks: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None
    items: int = ITEMS
    passages: int = PASSAGES
    operation: str = ""
    questions: Sequence[str] = ()
    demonstrations: int = DEMONSTRATIONS

    @property
    def subject(self) -> str:
        """The method's name or the file's, as a part of a path."""
        return (
            re.sub(r"[^a-z0-9_-]+", "-", (self.file.stem if self.file else self.method).lower()).strip("-_") or "file"
        )

    def controls(self) -> list[str]:
        """The controls that are controls of this method.

        Of a method that draws no pairs no labels can be shuffled. The vectors of a file are those of every task.
        """
        method = steering(self.method)
        if method.site == "prompt":
            # It has no vector in whose place another could be.
            return []
        found = ["random_direction"]
        if (self.operation or method.operation) not in ("project_out", "scale"):
            found.append("sign_flipped")
        if method.sampled and method.sided:
            found.append("shuffled_labels")
        if not self.file and len(self.tasks) > 1:
            found.append("wrong_task")
        return found

    def study(self) -> dict[str, Any]:
        """The study behind the verdict, as its YAML file has it; its name holds a digest of the rest."""
        section, baseline = self._section(), {"strengths": [0, self.demonstrations]}
        methods = [self.method, BASELINE]
        found: dict[str, Any] = {"models": list(self.models)}
        if self.tasks:
            baseline["passages"] = self.passages
            # Prompting is measured on their prompts, whatever the method.
            methods = list(dict.fromkeys(["function_vectors", *methods]))
            found["tasks"] = list(self.tasks)
            # A word that a vector was built from judges nothing.
            found["protocol"] = {"splits": "disjoint"}
            found["function_vectors"] = {
                "shots": DEMONSTRATIONS,
                "trials": 5,
                "n_heads": [16],
                "strengths": [1.0, 4.0],
                "test_items": self.items,
            }
        if self.questions:
            for each in (section, baseline):
                each |= {"questions": list(self.questions), "limit": self.items}
            # A verdict must not be optimistic; without question sets the table of verdicts sees to that itself.
            found.setdefault("protocol", {})["selection"] = "halves"
        found |= {"methods": methods, self.method: found.get(self.method, {}) | section, BASELINE: baseline}
        digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:8]
        return {"study": f"judge-{self.subject[:60]}-{digest}"} | found

    def _section(self) -> dict[str, Any]:
        """The method's section, without what question sets add."""
        section = dict(self.settings)
        if self.method in PAPER_METHODS:
            return section | (paper.section(self.method, self.tasks, self.items) if self.tasks else {})
        if self.file:
            section |= {"file": f"results/{FOLDER}/vectors/{section['sha256']}{self.file.suffix}"}
        if self.tasks:
            section |= {"controls": self.controls(), "passages": self.passages}
            if section["controls"]:
                section["random_directions"] = DIRECTIONS
            method = steering(self.method)
            if method.sampled and not scores_itself(method):
                section["draws"] = DRAWS
        return section

    def check(self, registry: Registry) -> None:
        """Raise `OffcourseError` for a study that would be refused, and a vector file that does not fit its model."""
        study = self.study()
        if self.file:
            study[self.method] = study[self.method] | {"file": str(self.file.absolute())}
        checked = load_study(study, where="offcourse judge")
        check_study(checked, registry)
        if self.file:
            method, row = (
                steering(self.method).configured(getattr(checked, self.method)),
                registry.model(self.models[0]),
            )
            method.require_fit(row)
            method.require_model(row.name, row.identity, None)

    def write(self, directory: Path) -> Path:
        """Write the study's file, and a copy of the vector file, below `results/judged`. Returns the study's path."""
        study = self.study()
        if self.file:
            kept = directory / study[self.method]["file"]
            write_whole(kept, lambda temporary: shutil.copyfile(self.file, temporary))
        path = directory / "results" / FOLDER / study["study"] / "study.yaml"
        text = "# The study behind a verdict of `offcourse judge`.\n" + yaml.safe_dump(study, sort_keys=False)
        write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        return path


def asked(
    subject: str,
    models: Sequence[str],
    tasks: Sequence[str],
    given: Mapping[str, Any],
    registry: Registry,
    items: int = ITEMS,
    passages: int = PASSAGES,
    strengths: Sequence[float] | None = None,
    questions: Sequence[str] = (),
) -> Asked:
    """What a command asks: `subject` is the name of a method, or the path of a vector file.

    given: facts of the vector file that its format has no place for. strengths: None for the method's own.
    tasks: with neither tasks nor questions, the default tasks.

    Raises `OffcourseError` for a name that is neither, for units that a method does not run on, for a vector file
    without its one model, and for a file that `vectors.files.read` refuses.
    """
    chosen = list(tasks or ([] if questions else TASKS))
    own = {"strengths": list(strengths)} if strengths else {}
    rest = {"items": items, "passages": passages, "questions": list(questions)}
    rest["demonstrations"] = _demonstrations(registry, questions, items)
    given = {name: value for name, value in given.items() if value is not None}
    if subject in KNOWN:
        if subject in PAPER_METHODS:
            _require_units(subject, tasks, questions, bool(own))
        if given:
            raise OffcourseError(f"{listed(given)} belongs to a vector file, and {subject} is a method. Leave it out.")
        return Asked(subject, list(models or [MODEL]), chosen, own, **rest)
    if subject == BASELINE:
        raise OffcourseError(f"{BASELINE} is the baseline that every card has beside its method. Name a method.")
    path = Path(subject)
    if not path.exists() and not path.suffix and "/" not in subject:
        raise OffcourseError(
            f"{subject!r} is neither a method nor a file (a method of your own is a module of src/offcourse/steering, "
            f"docs/extending.md): {did_you_mean(subject, KNOWN)}"
        )
    format_of(path)
    if len(models) != 1:
        raise OffcourseError(
            f"a vector file is for one model, and {len(models)} are named. Say which, as --model {MODEL}."
        )
    row = registry.model(models[0])
    # Of other formats the command says the model; a file with our facts names its own.
    facts = {"model": row.identity} if path.suffix != ".safetensors" else {}
    section = {"sha256": sha256(path), **own, **{name: value for name, value in (facts | given).items() if value}}
    if given.get("together") is False:
        section["together"] = False
    found = read(path, {name: section.get(name) for name in GIVEN})
    if found.operation == "project_out":
        # A share of the component; the default strengths are for vectors that are added.
        section.setdefault("strengths", [0.5, 1.0])
    return Asked(VECTOR_FILE, [row.name], chosen, section, path, operation=found.operation, **rest)


def _require_units(name: str, tasks: Sequence[str], questions: Sequence[str], strengths: bool) -> None:
    """Raise `OffcourseError` for units or strengths that a method of the paper does not have."""
    if PAPER_METHODS[name].on_questions:
        if tasks:
            raise OffcourseError(f"{name} runs on question sets, not on tasks. Leave --tasks out.")
        if not questions:
            raise OffcourseError(
                f"{name} is judged on question sets, and none is named. Name some, as --questions misconceptions."
            )
    elif questions:
        able = [each for each in METHODS if steering(each).on_questions]
        able += [each for each, method in PAPER_METHODS.items() if method.on_questions]
        raise OffcourseError(
            f"{name} runs on tasks, not on question sets. Leave --questions out; {', '.join(able)} run on them."
        )
    if strengths and name != "function_vectors":
        raise OffcourseError(f"--strengths: {name} has none. Leave it out.")


def _demonstrations(registry: Registry, questions: Sequence[str], items: int) -> int:
    """The most demonstrations that the baseline can have: they are questions of the other fold of a set.

    Raises `OffcourseError` for a set that there is not, and for one that cannot be divided.
    """
    most = DEMONSTRATIONS
    for name in questions:
        row = registry.question_set(name)
        if row.fetched:
            # The set is not fetched yet, so the size of its folds is a guess. If a fold is smaller, the run says so.
            most = min(most, max(1, items // 4))
            continue
        some, _ = tracked_questions(row, items, int(Protocol().factor_shots), RESOURCES)
        try:
            most = min(most, *np.bincount(folds(name, some), minlength=2).tolist())
        except OffcourseError as error:
            raise OffcourseError(f"{error} With offcourse judge, limit is --items, here {items}.") from error
    return most
