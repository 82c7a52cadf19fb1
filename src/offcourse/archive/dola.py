"""The authors' scores of answers under DoLa: TruthfulQA and FACTOR, one JSON file per model and setting.

The name of a file does not always give the whole setting. The missing part is inferred from the scores and never
assumed. Some files are named by alpha only and others by bucket only: the one pair of files with equal scores gives the
missing bucket and the missing alpha. The alpha of scores without the softmax is 0 if no token is masked.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from offcourse.analysis.truthfulness import factor, per_question
from offcourse.archive.paths import OTHER_PACKAGES, ReleasedRun
from offcourse.data.questions import Question
from offcourse.data.rows import Model, is_large
from offcourse.errors import OffcourseError
from offcourse.study.dola_buckets import BUCKETS

MASKED = -1000.0  # the score of a token below alpha
TOTALS = 1e-9  # largest distance of a released MC1, MC2 or MC3 from the number that the released scores give
NEAR = 8  # largest distance, in percentage points, of a bucket's layers from its name; the authors' rounding causes it


def bucket(layers: Sequence[int], depth: int, large: bool) -> str:
    """The name of a bucket, such as "0-50", from its premature layers.

    Raises `OffcourseError` for layers that are near no name or near several names.
    """
    names = BUCKETS["large" if large else "small"]
    ends = [[int(end) for end in name.split("-")] for name in names]
    # The mature layer is no candidate, so the deepest bucket ends one or two layers before the mature layer.
    last = depth if layers[-1] >= depth - 2 else layers[-1]
    missed = [max(abs(100 * layers[0] / depth - low), abs(100 * last / depth - high)) for low, high in ends]
    near = [name for name, off in zip(names, missed, strict=True) if off < NEAR]
    if len(near) != 1:
        raise OffcourseError(f"layers {layers[0]} to {layers[-1]} of {depth} are not one of the buckets {names}")
    return near[0]


@dataclass(frozen=True)
class Scores:
    """The content of a file. scores: [answers], question by question, true answers first. chosen: {layer: tokens}."""

    run: ReleasedRun
    values: np.ndarray
    chosen: dict[int, int]


def read_dola(
    read: Callable[[str], bytes],
    runs: Iterable[ReleasedRun],
    model: Model,
    questions: Sequence[Question],
    known: Iterable[str],
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """(scores of schema `PUBLISHED_DOLA`, chosen layers of schema `PREMATURE_LAYERS`, skipped files of another depth).

    read: path of a released file -> its content. questions: the whole set. known: paths of the release, among them the
    files that count chosen layers. If a FACTOR file has fewer texts than the set, `question` is the index in the file.

    Raises `OffcourseError` for a file of another shape, for metrics that do not follow from the scores, and for a
    setting that cannot be inferred.
    """
    unused = [run.path for run in runs if run.layers and run.layers[-1] != model.layers]
    every = _template(questions)
    loaded = [_load(read, run, questions, every, known) for run in runs if run.path not in unused]
    settled = _settle(loaded)
    large = is_large(model.parameters)
    frames, layers = {}, []
    for each in settled:
        name = bucket(each.run.layers[:-1], model.layers, large) if len(each.run.layers) > 1 else ""
        key = name, each.run.alpha or 0.0, each.run.variant
        if key in frames:  # the search of buckets and the search of alphas both hold the best bucket, with equal scores
            continue
        # A file with fewer texts has the first ones.
        frames[key] = every.head(len(each.values)).assign(
            bucket=name, alpha=key[1], variant=each.run.variant, score=each.values
        )
        layers += [(*key, layer, tokens) for layer, tokens in each.chosen.items()]
    frame = pd.concat([frames[key] for key in sorted(frames)], ignore_index=True)
    frame["masked_tokens"] = pd.array([pd.NA] * len(frame), "Int64")
    chosen = pd.DataFrame(layers, columns=["bucket", "alpha", "variant", "layer", "tokens"])
    chosen = chosen.sort_values(["bucket", "alpha", "variant", "layer"], ignore_index=True)
    columns = ["question", "answer", "kind", "tokens", "bucket", "alpha", "variant", "score", "masked_tokens"]
    return frame[columns], chosen, unused


def _template(questions: Sequence[Question]) -> pd.DataFrame:
    """A row per answer: question, answer, kind and tokens."""
    rows = [
        (number, answer, kind)
        for number, question in enumerate(questions)
        for answer, (kind, _) in enumerate(question.answers)
    ]
    frame = pd.DataFrame(rows, columns=["question", "answer", "kind"])
    return frame.assign(tokens=pd.array([pd.NA] * len(frame), "Int64"))


def _load(
    read: Callable[[str], bytes],
    run: ReleasedRun,
    questions: Sequence[Question],
    every: pd.DataFrame,
    known: Iterable[str],
) -> Scores:
    """every: see `_template`."""
    try:
        content = json.loads(read(run.path))
        if run.questions == "tfqa":
            values = _truthfulqa(content, questions, every, run.path)
        else:
            values = _factor(content, questions, run.path)
        chosen = json.loads(read(run.layers_path)) if run.layers_path in known else {}
        chosen = {int(layer): int(tokens) for layer, tokens in chosen.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OffcourseError(f"{run.path} is not a file of scores as expected ({error!r}). {OTHER_PACKAGES}") from error
    return Scores(run, np.array(values, float), chosen)


def _truthfulqa(content: dict, questions: Sequence[Question], every: pd.DataFrame, path: str) -> list[float]:
    scores, asked = content["model_scores"], content["question"]
    if len(scores) != len(questions) or len(asked) != len(questions):
        raise OffcourseError(f"{path} has scores of {len(scores)} questions, expected {len(questions)}")
    values = []
    for question, said, each in zip(questions, asked, scores, strict=True):
        true, false = each["scores-true"], each["scores-false"]
        if said["question"] != question.text or (len(true), len(false)) != (len(question.true), len(question.false)):
            raise OffcourseError(f"{path}: the scores are not those of the answers to {question.text!r}")
        values += [*true, *false]
    metrics = per_question(every.assign(score=np.array(values, float)))[["mc1", "mc2", "mc3"]].to_numpy()
    printed = np.array([[each[name] for name in ("MC1", "MC2", "MC3")] for each in scores], float)
    if (wrong := (np.abs(metrics - printed) > TOTALS).any(1)).any():
        text = questions[int(wrong.argmax())].text
        raise OffcourseError(f"{path}: MC1, MC2, MC3 of {text!r} do not follow from its scores")
    totals = [content[name] for name in ("total_mc1", "total_mc2", "total_mc3")]
    if np.abs(metrics.mean(0) - totals).max() > TOTALS:
        raise OffcourseError(f"{path}: the totals of MC1, MC2, MC3 do not follow from its scores")
    return values


def _factor(content: dict, questions: Sequence[Question], path: str) -> list[float]:
    scores, correct = content["model_completion"], content["is_correct"]
    answers = {len(question.answers) for question in questions}
    if len(scores) != len(correct) or len(scores) > len(questions) or {len(each) for each in scores} != answers:
        raise OffcourseError(f"{path} does not have a score of each of {answers} continuations for at most every text")
    if any(bool(factor(each[0], each[1:])) != said for each, said in zip(scores, correct, strict=True)):
        raise OffcourseError(f"{path}: is_correct does not follow from the scores")
    return [value for each in scores for value in each]


def _settle(loaded: Sequence[Scores]) -> list[Scores]:
    """Fill in the bucket or alpha that a file's name does not give; see the docstring of this module."""
    by_bucket = [each for each in loaded if each.run.variant == "softmax" and each.run.alpha is None]
    by_alpha = [each for each in loaded if each.run.variant == "softmax" and not each.run.layers]
    pairs = [
        (one, other)
        for one in by_bucket
        for other in by_alpha
        if np.array_equal(one.values, other.values) and one.chosen == other.chosen
    ]
    buckets, alphas = {one.run.layers for one, _ in pairs}, {other.run.alpha for _, other in pairs}
    settled = []
    for each in loaded:
        run = each.run
        if run.variant == "softmax" and (run.alpha is None or not run.layers):
            if len(buckets) != 1 or len(alphas) != 1:
                raise OffcourseError(
                    f"{run.path}: its setting cannot be told, since {len(pairs)} pairs of a bucket's and an alpha's "
                    "file have the same scores, not one"
                )
            run = replace(run, layers=run.layers or min(buckets), alpha=min(alphas) if run.alpha is None else run.alpha)
        elif run.variant == "no_softmax" and run.alpha is None:
            if each.values.min() <= MASKED / 2:
                raise OffcourseError(f"{run.path}: its alpha cannot be told, since some tokens are masked")
            run = replace(run, alpha=0.0)
        settled.append(replace(each, run=run))
    return settled
