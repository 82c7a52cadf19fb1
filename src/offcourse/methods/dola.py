"""DoLa: the mature layer's distribution contrasted with a premature layer's (paper section 3.1 and appendix A).

One pass per question gives the whole grid. The beginning that all questions share (the few-shot primer) is computed
once per model, each question once, and its answers as branches of the question. The vocabulary is visited once per
candidate layer (`offcourse.engine.contrast`). Buckets, alphas and variants are then sums over a few numbers per token.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from offcourse.data.names import RESOURCES
from offcourse.data.questions import Question, evaluated, prompt_text
from offcourse.data.rows import QuestionSet, is_large
from offcourse.data.targets import prompt_and_answer
from offcourse.engine import Engine
from offcourse.engine.contrast import Coming, Contrast, contrast
from offcourse.engine.forest import shared_beginning
from offcourse.study.dola_buckets import candidate_layers

MASKED_SCORE = -1000.0


@dataclass(frozen=True)
class Answer:
    """One tokenized answer: the token ids of prompt and answer, and the position of the last prompt token."""

    question: int
    answer: int
    kind: str
    ids: tuple[int, ...]
    last: int

    @property
    def positions(self) -> range:
        """Positions at which the tokens of the answer are predicted."""
        return range(self.last, len(self.ids) - 1)

    @property
    def targets(self) -> tuple[int, ...]:
        """The tokens of the answer."""
        return self.ids[self.last + 1 :]


def compute(context, row: QuestionSet) -> pd.DataFrame:
    """Scores under `DOLA`; `attrs["premature_layers"]` counts the chosen layers per bucket."""
    settings = context.parameters
    questions, shots = evaluated(
        row, settings["limit"], int(settings["factor_shots"]), RESOURCES, context.layout.downloads
    )
    engine, tokenizer = context.engine, context.tokenizer
    answers = [
        answer
        for number, question in enumerate(questions)
        for answer in tokenized(
            lru_cache(2)(partial(tokenizer.encode, name=f"{row.name}, question {number + 1} with its answer")),
            prompt_text(row.form, question, shots),
            question,
            number,
        )
    ]
    buckets = candidate_layers(settings["buckets"], engine.model.layers, is_large(engine.model.parameters))
    frames, chosen = [], {bucket: np.zeros(engine.model.layers, int) for bucket in buckets}
    quiet = not os.isatty(2)
    for scored in tqdm(
        scores(engine, answers, buckets, settings), total=len(questions), unit="question", disable=quiet
    ):
        frames.append(scored.frame)
        for bucket, counts in scored.layers.items():
            chosen[bucket] += counts
    result = pd.concat(frames, ignore_index=True)
    result.attrs["premature_layers"] = {
        bucket: {str(layer): int(count) for layer, count in enumerate(counts) if count}
        for bucket, counts in chosen.items()
    }
    return result


def tokenized(encode, text: str, question: Question, number: int) -> Iterator[Answer]:
    """Every answer of a question, tokenised with its prompt `text`; the answer is the tokens after the prompt's.

    number: index of the question, for messages. Raises `OffcourseError` for an answer without its own tokens.
    """
    for index, (kind, answer) in enumerate(question.answers):
        what, advice = (
            f"question {number + 1}, {answer!r}",
            "Correct the question, or leave its set (dola.questions) or the model (dola.models) out.",
        )
        prompt, behind = prompt_and_answer(encode, text, f" {answer}", what, advice)
        yield Answer(number, index, kind, (*prompt, *behind), len(prompt) - 1)


@dataclass
class Scored:
    """The scores of one question, and per bucket how often each layer was the premature layer: [layers]."""

    frame: pd.DataFrame
    layers: dict[str, np.ndarray]


@dataclass(frozen=True)
class Piece:
    """The numbers of some answers of a question from one pass.

    state: [tokens] index of the state that predicts each token. lengths: tokens of each answer.
    """

    numbers: Coming
    state: torch.Tensor
    lengths: list[int]


def scores(
    engine: Engine, answers: Sequence[Answer], buckets: Mapping[str, Sequence[int]], settings: Mapping[str, Any]
) -> Iterator[Scored]:
    """Scores of every answer, a question at a time.

    settings: `alphas`, `length_bias` (the constant) and the protocol's switches of DoLa.
    """
    layers = sorted({layer for members in buckets.values() for layer in members})
    shared = shared_beginning([answer.ids for answer in answers], min(answer.last for answer in answers))
    prefix = engine.keep(answers[0].ids[:shared])
    removed = settings["dola_mask"] == "removed"
    alphas = tuple(settings["alphas"]) if removed else (0.0,)
    by_question: dict[int, list[Answer]] = {}
    for answer in answers:
        by_question.setdefault(answer.question, []).append(answer)
    read = partial(_grid, layers=layers, buckets=buckets, settings=settings, model=engine.model)
    started = None
    for group in by_question.values():
        before, started = started, (group, _started(engine, group, layers, prefix, settings, alphas))
        # The host reads a question's numbers when the device already has the next question's pass.
        if before:
            yield read(*before)
    if started:
        yield read(*started)


def _started(engine: Engine, group: Sequence[Answer], layers, prefix, settings, alphas) -> list[Piece]:
    """The passes of one question, whose numbers are not waited for."""
    pieces = []
    model, normed = engine.model, settings["dola_premature_norm"] == "final"
    for states in engine.states([each.ids for each in group], [each.positions for each in group], layers, prefix):
        mine = group[states.prompts]
        state = torch.tensor([place for places in states.where for place in places])
        token = torch.tensor([target for answer in mine for target in answer.targets])
        hidden, divergence = _readable(engine, states.hidden, normed), settings["dola_divergence"]
        found = contrast(model.head, model.final_softcap, states.final, hidden, state, token, divergence, alphas)
        pieces.append(Piece(Coming(found), state, [len(answer.targets) for answer in mine]))
    return pieces


def _readable(engine: Engine, hidden: Mapping[int, torch.Tensor], norm: bool) -> dict[int, torch.Tensor]:
    ready = engine.model.normed if norm else engine.model.scaled
    with torch.inference_mode():
        return {layer: ready(states) for layer, states in hidden.items()}


def _grid(group, pieces: Sequence[Piece], layers, buckets, settings, model) -> Scored:
    """The scores of one question in all settings, from the numbers of its tokens."""
    place = {layer: index for index, layer in enumerate(layers)}
    chosen = {bucket: np.zeros(model.layers, int) for bucket in buckets}
    columns: dict[tuple[str, float, str], list[tuple[np.ndarray, np.ndarray]]] = {}
    for piece in pieces:
        for key, values, masked, layer in settings_of(piece.numbers.arrived(), piece.state, place, buckets, settings):
            columns.setdefault(key, []).append((values, masked))
            if layer is not None:
                chosen[key[0]] += np.bincount(layer, minlength=model.layers)
    values, masked = (
        np.stack([np.concatenate([part[i] for part in parts]) for parts in columns.values()]) for i in (0, 1)
    )
    lengths = [length for piece in pieces for length in piece.lengths]
    dtype = torch.float64 if settings["score_dtype"] == "float64" else model.module.dtype
    bucket, alpha, variant = (np.repeat(np.array(part), len(group)) for part in zip(*columns, strict=True))
    count = len(columns)
    frame = pd.DataFrame(
        {
            "question": np.tile([answer.question for answer in group], count),
            "answer": np.tile([answer.answer for answer in group], count),
            "kind": np.tile(np.array([answer.kind for answer in group], object), count),
            "tokens": np.tile(lengths, count),
            "bucket": bucket.astype(object),
            "alpha": alpha,
            "variant": variant.astype(object),
            "score": sums(values, lengths, dtype).ravel(),
            "masked_tokens": np.add.reduceat(masked, np.cumsum([0, *lengths[:-1]]), 1, dtype=int).ravel(),
        }
    )
    return Scored(frame, chosen)


def sums(values: np.ndarray, lengths: Sequence[int], dtype: torch.dtype) -> np.ndarray:
    """Sum of the scores of each answer's tokens: [settings, tokens] to [settings, answers] float64.

    lengths: number of tokens of each answer. dtype: precision of the tokens' scores and of their sum. The sum is
    `torch.sum`, as in the authors' code, which adds half precisions in float32 and rounds the sum once.
    """
    parts = torch.from_numpy(values).to(dtype).split(list(lengths), -1)
    return torch.stack([part.sum(-1) for part in parts], -1).double().numpy()


def settings_of(
    numbers: Contrast,
    state: torch.Tensor,
    place: Mapping[int, int],
    buckets: Mapping[str, Sequence[int]],
    settings: Mapping[str, Any],
) -> Iterator[tuple[tuple[str, float, str], np.ndarray, np.ndarray, np.ndarray | None]]:
    """Each setting as ((bucket, alpha, variant), score per token, masked per token, premature layer per token).

    The premature layers are given with the first setting of each bucket and None with the others. Settings without a
    bucket have bucket "" and alpha 0.
    """
    removed = settings["dola_mask"] == "removed"
    state_of = state.numpy()
    log_p = numbers.log_p.numpy().astype(np.float64)
    nothing = np.zeros(len(log_p), bool)
    yield ("", 0.0, "base"), log_p, nothing, None
    sign = {"subtracted": -1, "added": 1}[settings["length_bias (protocol)"]]
    bias = log_p - numbers.smallest.numpy()[state_of] + sign * settings["length_bias"]
    yield ("", 0.0, "length_bias"), bias, nothing, None
    for bucket, members in buckets.items():
        rows = np.array([place[layer] for layer in members])
        winner = rows[numbers.distance.numpy()[rows].argmax(0)][state_of]
        ratio = log_p - numbers.log_early.numpy()[winner, np.arange(len(log_p))]
        first: np.ndarray | None = np.array(sorted(place))[winner]
        for index, alpha in enumerate(settings["alphas"]):
            threshold = numbers.largest.numpy()[state_of] + (math.log(alpha) if alpha > 0 else -math.inf)
            masked = log_p < threshold
            normaliser = numbers.normaliser.numpy()[index if removed else 0, winner, state_of]
            for variant, values in (("softmax", ratio - normaliser), ("no_softmax", ratio)):
                scored = np.where(masked, 0.0 if removed else MASKED_SCORE, values)
                yield (bucket, float(alpha), variant), scored, masked, first
                first = None
