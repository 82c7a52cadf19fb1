"""DoLa: the whole grid from one pass equals a plain forward per answer and setting (paper section 3.1)."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from oracles import plain_hidden_states

from offcourse.data.architectures import ARCHITECTURES
from offcourse.engine import Engine
from offcourse.engine.attention import uninstalled
from offcourse.errors import OffcourseError
from offcourse.methods.dola import Answer, scores
from offcourse.models.load import LanguageModel
from offcourse.models.random import random_model
from offcourse.study.dola_buckets import candidate_layers

PRIMER = [0, *((7 * i) % 500 + 2 for i in range(20))]
SETTINGS = {
    "alphas": [0.0, 0.1, 0.5, 0.9],
    "length_bias": 3.0,
    "length_bias (protocol)": "subtracted",
    "dola_divergence": "mean_kl",
    "dola_premature_norm": "none",
    "dola_mask": "constant",
    "score_dtype": "float64",
}
CORRECTED = SETTINGS | {
    "length_bias (protocol)": "added",
    "dola_divergence": "jensen_shannon",
    "dola_premature_norm": "final",
    "dola_mask": "removed",
}
BUCKETS = {"0-50": [0, 2], "50-100": [2, 3], "0-100": [0, 1, 2, 3]}


def answers(questions: int = 2) -> list[Answer]:
    """Answers of several lengths, two of which begin alike, behind a primer that all share."""
    made = []
    for question in range(questions):
        prompt = [*PRIMER, 30 + question, 77, 40]
        tails = [[5, 6, 7, 8], [5, 6, 9], [100 + question], [5, 6, 7, 8, 200, 201]]
        for index, tail in enumerate(tails):
            kind = "best" if index == 0 else "false"
            made.append(Answer(question, index, kind, tuple(prompt + tail), len(prompt) - 1))
    return made


def expected(model, plain, answer: Answer, bucket: str, alpha: float, variant: str, settings) -> tuple[float, int]:
    """Score and masked tokens of one answer in one setting, from the answer's own forward `plain`."""
    embedded, logits = plain
    log_p = logits.double().log_softmax(-1)
    scores, masked = [], 0
    for position, target in zip(answer.positions, answer.targets, strict=True):
        n = log_p[position]
        if variant == "base":
            scores.append(float(n[target]))
            continue
        if variant == "length_bias":
            sign = -1 if settings["length_bias (protocol)"] == "subtracted" else 1
            scores.append(float(n[target] - n.min()) + sign * settings["length_bias"])
            continue
        distances, early = [], []
        for layer in BUCKETS[bucket]:
            state = embedded[layer][position]
            if settings["dola_premature_norm"] == "final":
                state = model.norm(state)
            values = model.head(state)
            if model.final_softcap is not None:
                values = torch.tanh(values / model.final_softcap) * model.final_softcap
            q = values.double().log_softmax(-1)
            m = (n.exp() + q.exp()) / 2
            if settings["dola_divergence"] == "mean_kl":
                distances.append(float(((m * (m.log() - n)).mean() + (m * (m.log() - q)).mean()) / 2))
            else:
                distances.append(float(((n.exp() * (n - m.log())).sum() + (q.exp() * (q - m.log())).sum()) / 2))
            early.append(q)
        ratio = n - early[distances.index(max(distances))]
        passes = n >= n.max() + (math.log(alpha) if alpha else -math.inf)
        if not passes[target]:
            masked += 1
            scores.append(0.0 if settings["dola_mask"] == "removed" else -1000.0)
            continue
        if variant == "softmax":
            kept = ratio[passes] if settings["dola_mask"] == "removed" else ratio
            scores.append(float(ratio[target] - kept.logsumexp(0)))
        else:
            scores.append(float(ratio[target]))
    dtype = torch.float64 if settings["score_dtype"] == "float64" else model.module.dtype
    return float(torch.tensor(scores, dtype=torch.float64).to(dtype).sum()), masked


def check_grid(model, given, found, settings) -> pd.DataFrame:
    """Hold every score against the oracle; all rows as one table."""
    plain = [plain_hidden_states(model, answer.ids) for answer in given]
    place = {(answer.question, answer.answer): number for number, answer in enumerate(given)}
    for scored in found:
        for row in scored.frame.itertuples():
            number = place[row.question, row.answer]
            answer = given[number]
            score, masked = expected(model, plain[number], answer, row.bucket, row.alpha, row.variant, settings)
            assert row.masked_tokens == masked
            assert row.score == pytest.approx(score, rel=1e-4, abs=1e-4)
            assert row.tokens == len(answer.targets)
    return pd.concat([scored.frame for scored in found], ignore_index=True)


@pytest.mark.parametrize("settings", [SETTINGS, CORRECTED], ids=["as_published", "corrected"])
@pytest.mark.parametrize("max_rows", [8, 1000])
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@torch.inference_mode()
def test_the_grid_equals_a_forward_per_answer_and_setting(tiny, name, max_rows, settings):
    model = tiny(name)
    given = answers()
    found = list(scores(Engine(model, max_rows), given, BUCKETS, settings))
    assert [len(scored.frame) for scored in found] == [4 * (2 + 3 * 4 * 2)] * 2
    frame = check_grid(model, given, found, settings)
    assert frame["masked_tokens"].sum() > 0
    for scored in found:
        for bucket, layers in scored.layers.items():
            assert len(layers) == model.layers
            assert layers.sum() == sum(len(answer.targets) for answer in given) / 2
            assert set(layers.nonzero()[0]) <= set(BUCKETS[bucket])


def rows_of(frame: pd.DataFrame, what: str) -> pd.Series:
    return {
        "steered": frame["bucket"] != "",
        "length_bias": frame["variant"] == "length_bias",
        # A threshold that masks nothing of an answer still leaves tokens out of the softmax.
        "thresholded": (frame["alpha"] > 0) & ((frame["variant"] == "softmax") | (frame["masked_tokens"] > 0)),
    }[what]


@pytest.mark.parametrize(
    ("switch", "value", "touches"),
    [
        ("dola_divergence", "jensen_shannon", "steered"),
        ("dola_premature_norm", "final", "steered"),
        ("dola_mask", "removed", "thresholded"),
        ("length_bias (protocol)", "added", "length_bias"),
    ],
)
@torch.inference_mode()
def test_each_switch_alone_changes_what_it_is_about(tiny, switch, value, touches):
    """Gemma 2 has everything that may matter: caps, windows and norms around each sub-layer."""
    model, given = tiny("Gemma2"), answers()
    before, after = (
        check_grid(model, given, list(scores(Engine(model), given, BUCKETS, settings)), settings)
        for settings in (SETTINGS, SETTINGS | {switch: value})
    )
    changed = (before["score"] - after["score"]).abs() > 1e-3
    touched = rows_of(before, touches)
    assert changed[touched].any() and not changed[~touched].any()
    pd.testing.assert_series_equal(before["masked_tokens"], after["masked_tokens"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_scores_are_summed_in_the_models_dtype_or_in_float64(dtype):
    """`score_dtype`: as published, the scores of the tokens are rounded to the model's dtype, and so is their sum."""
    model = LanguageModel(random_model("Llama", seed=1).to(dtype), ARCHITECTURES["Llama"])
    tail = [5, 6, 7, 8, 200, 201, 90, 91, 92, 93]
    # Each answer has one token more than the one before, so that differences in float64 are the tokens' scores.
    given = [Answer(0, n, "false", (*PRIMER, 30, *tail[: n + 1]), len(PRIMER)) for n in range(len(tail))]
    coded, exact = (
        next(scores(Engine(model), given, BUCKETS, SETTINGS | {"score_dtype": value})).frame.set_index(
            ["bucket", "alpha", "variant", "answer"]
        )["score"]
        for value in ("model", "float64")
    )
    rounded = 0
    for setting, sums in exact.groupby(level=[0, 1, 2]):
        tokens = torch.tensor(np.diff(sums.to_numpy(), prepend=0.0))
        for number in range(len(tail)):
            summed = tokens[: number + 1].to(dtype).sum()
            assert summed.dtype == dtype
            assert coded[(*setting, number)] == float(summed)
            rounded += abs(float(summed) - sums.iloc[number]) > 1e-3
    assert rounded > len(coded) / 4


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@torch.inference_mode()
def test_base_scores_are_the_log_probabilities_of_transformers(tiny, name):
    model = tiny(name)
    given = answers(1)
    frame = next(scores(Engine(model), given, BUCKETS, SETTINGS)).frame
    base = frame[frame["variant"] == "base"].set_index("answer")["score"]
    for answer in given:
        assert base[answer.answer] == pytest.approx(log_probability(model, answer), rel=1e-4)


def log_probability(model, answer: Answer) -> float:
    """Of an answer behind its prompt, from the plain model's logits."""
    with uninstalled(model):
        logits = model.module(torch.tensor([answer.ids]), use_cache=False).logits[0].float()
    picked = [logits.log_softmax(-1)[p, t] for p, t in zip(answer.positions, answer.targets, strict=True)]
    return float(torch.stack(picked).sum())


def texts(length: int) -> list[Answer]:
    """Two texts of `length` tokens without demonstrations, each with four continuations, as in FACTOR."""
    made = []
    for question in range(2):
        prompt = [0, *((7 * i + 13 * question) % 500 + 2 for i in range(length - 1))]
        for index, tail in enumerate([[5, 6, 7], [5, 8], [9, 10, 11, 12], [13, 14]]):
            made.append(Answer(question, index, "best" if index == 0 else "false", (*prompt, *tail), length - 1))
    return made


def counted(model, call) -> tuple[object, list[int]]:
    """What `call` returns, and the number of tokens of each pass through the model."""
    passes = []
    handle = model.blocks[0].register_forward_pre_hook(lambda module, args: passes.append(args[0].shape[1]))
    try:
        return call(), passes
    finally:
        handle.remove()


@pytest.mark.parametrize("name", ["Gemma2", "Gemma3", "Mistral"])
@torch.inference_mode()
def test_a_factor_prefix_longer_than_the_window_scores_as_the_plain_model(tiny, name):
    """FACTOR prefix longer than the window: 60 tokens, while sliding layers see 16; and longer than the row budget."""
    model, given = tiny(name), texts(60)
    assert model.module.config.sliding_window == 16
    found = list(scores(Engine(model, max_rows=24), given, BUCKETS, SETTINGS))
    frame = check_grid(model, given, found, SETTINGS)
    base = frame[frame["variant"] == "base"].set_index(["question", "answer"])["score"]
    for answer in given:
        assert base[answer.question, answer.answer] == pytest.approx(log_probability(model, answer), rel=1e-4)


@pytest.mark.parametrize("name", ["GPTJ", "Llama", "Gemma3"])
@pytest.mark.parametrize(("length", "max_rows"), [(60, 24), (60, 62), (20, 1000)])
@torch.inference_mode()
def test_a_long_prefix_is_computed_once_and_its_answers_are_branches(tiny, name, length, max_rows):
    """However little fits into a pass, every token of a question goes through the model once."""
    model, given = tiny(name), texts(length)
    found, passes = counted(model, lambda: list(scores(Engine(model, max_rows), given, BUCKETS, SETTINGS)))
    distinct = {ids[:end] for ids in (answer.ids for answer in given) for end in range(1, len(ids) + 1)}
    # The last token of an answer predicts nothing but is run with it, and the first token is shared by both texts.
    assert sum(passes) == len(distinct)
    assert max(passes) <= max_rows
    check_grid(model, given, found, SETTINGS)


@torch.inference_mode()
def test_a_primer_and_a_long_question_are_kept_one_behind_the_other(tiny):
    model = tiny("Mistral")
    given = [
        Answer(question, index, kind, (*PRIMER, *middle, *tail), len(PRIMER) + len(middle) - 1)
        for question in range(2)
        for middle in [[(11 * i + question) % 500 + 2 for i in range(30)]]
        for index, (kind, tail) in enumerate([("best", [5, 6, 7]), ("false", [5, 8]), ("false", [9, 10, 11, 12])])
    ]
    found, passes = counted(model, lambda: list(scores(Engine(model, 16), given, BUCKETS, SETTINGS)))
    distinct = {ids[:end] for ids in (answer.ids for answer in given) for end in range(1, len(ids) + 1)}
    assert sum(passes) == len(distinct) and max(passes) <= 16
    check_grid(model, given, found, SETTINGS)


@pytest.mark.parametrize(
    ("layers", "large", "bucket", "members"),
    [
        (32, False, "0-50", range(0, 17, 2)),
        (32, False, "25-75", range(8, 25, 2)),
        (32, False, "50-100", range(16, 31, 2)),
        (32, False, "0-100", range(0, 31, 2)),
        (28, False, "25-75", range(7, 22, 2)),
        (80, True, "0-25", range(0, 21, 2)),
        (80, True, "75-100", range(60, 79, 2)),
    ],
)
def test_candidate_layers_are_those_of_the_study(layers, large, bucket, members):
    assert candidate_layers("auto", layers, large)[bucket] == list(members)


def test_percentages_are_rounded_down_without_the_slips_of_binary_fractions():
    assert candidate_layers(["29-58"], 100)["29-58"] == list(range(29, 59, 2))


@pytest.mark.parametrize("bucket", ["50-150", "100-100", "120-150"])
def test_a_bucket_beyond_the_models_layers_is_refused(bucket):
    with pytest.raises(OffcourseError, match=f"dola.buckets: {bucket} goes beyond the model's 32 layers"):
        candidate_layers([bucket], 32)
