"""DoLa: the whole grid from one pass equals a plain forward per answer and setting, written from method.md C.2."""

import math

import pytest
import torch
from oracles import plain_hidden_states

from offcourse.engine import Engine
from offcourse.methods.dola import Answer, candidate_layers, scores
from offcourse.models.architectures import ARCHITECTURES

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
    total, masked = 0.0, 0
    for position, target in zip(answer.positions, answer.targets, strict=True):
        n = log_p[position]
        if variant == "base":
            total += float(n[target])
            continue
        if variant == "length_bias":
            sign = -1 if settings["length_bias (protocol)"] == "subtracted" else 1
            total += float(n[target] - n.min()) + sign * settings["length_bias"]
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
            total += 0.0 if settings["dola_mask"] == "removed" else -1000.0
            continue
        if variant == "softmax":
            kept = ratio[passes] if settings["dola_mask"] == "removed" else ratio
            total += float(ratio[target] - kept.logsumexp(0))
        else:
            total += float(ratio[target])
    return total, masked


@pytest.mark.parametrize("settings", [SETTINGS, CORRECTED], ids=["as_published", "corrected"])
@pytest.mark.parametrize("max_rows", [8, 1000])
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@torch.inference_mode()
def test_the_grid_equals_a_forward_per_answer_and_setting(tiny, name, max_rows, settings):
    model = tiny(name)
    given = answers()
    found = list(scores(Engine(model, max_rows), given, BUCKETS, settings))
    assert [len(scored.frame) for scored in found] == [4 * (2 + 3 * 4 * 2)] * 2
    plain = [plain_hidden_states(model, answer.ids) for answer in given]
    masked_somewhere = 0
    for scored in found:
        for row in scored.frame.itertuples():
            number = 4 * row.question + row.answer
            answer = given[number]
            score, masked = expected(model, plain[number], answer, row.bucket, row.alpha, row.variant, settings)
            assert row.masked_tokens == masked
            assert row.score == pytest.approx(score, rel=1e-4, abs=1e-4)
            assert row.tokens == len(answer.targets)
            masked_somewhere += masked
        for bucket, layers in scored.layers.items():
            assert layers.sum() == sum(len(answer.targets) for answer in given) / 2
            assert set(layers.nonzero()[0]) <= set(BUCKETS[bucket])
    assert masked_somewhere > 0


def test_base_scores_are_the_log_probabilities_of_transformers(tiny):
    model = tiny("Llama")
    given = answers(1)
    frame = next(scores(Engine(model), given, BUCKETS, SETTINGS)).frame
    base = frame[frame["variant"] == "base"].set_index("answer")["score"]
    for answer in given:
        _, logits = plain_hidden_states(model, answer.ids)
        picked = [logits.log_softmax(-1)[p, t] for p, t in zip(answer.positions, answer.targets, strict=True)]
        assert base[answer.answer] == pytest.approx(float(torch.stack(picked).sum()), rel=1e-4)


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
