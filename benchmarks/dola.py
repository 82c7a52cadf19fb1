"""DoLa: the whole grid from one pass per question against one forward per answer and setting."""

import statistics
import sys
import time

import torch

from benchmarks.flops import flops_of
from benchmarks.timing import REPEATS, SAMPLE, interleaved, report
from offcourse.engine import Engine
from offcourse.engine.attention import uninstalled
from offcourse.methods.dola import scores
from offcourse.study.dola_buckets import candidate_layers

ALPHAS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
SETTINGS = {
    "alphas": list(ALPHAS),
    "length_bias": 20.0,
    "length_bias (protocol)": "subtracted",
    "dola_divergence": "mean_kl",
    "dola_premature_norm": "none",
    "dola_mask": "constant",
    "score_dtype": "float64",
}
# Scores that are compared with the naive loop, spread over the grid.
CHECKED = 100
FEW_QUESTIONS, MORE = 3, 10


@torch.inference_mode()
def compare_dola(engine: Engine, answers) -> dict:
    """All buckets, alphas and variants of some questions against one forward per answer and setting."""
    model = engine.model
    buckets = candidate_layers("auto", model.layers)
    grid = [(bucket, alpha) for bucket in buckets for alpha in ALPHAS]
    cells = [(answer, *grid[(5 * i) % len(grid)]) for i, answer in enumerate(answers)]
    sample = cells[:: len(cells) // SAMPLE][:SAMPLE]

    def one(answer, bucket, alpha) -> float:
        out = model.module.base_model(torch.tensor([answer.ids]), use_cache=False, output_hidden_states=True)
        where = list(answer.positions)
        states = [hidden[0, where] for hidden in out.hidden_states]
        log_p = model.head(states[-1]).log_softmax(-1)
        best, early = None, None
        for layer in buckets[bucket]:
            log_q = model.head(states[layer]).log_softmax(-1)
            log_m = ((log_p.exp() + log_q.exp()) / 2).clamp_min(1e-38).log()
            distance = (log_m.exp() * (2 * log_m - log_p - log_q)).mean(-1)
            first = best is None
            better = torch.ones_like(distance, dtype=torch.bool) if first else distance > best
            best = distance if first else torch.where(better, distance, best)
            early = log_q if first else torch.where(better[:, None], log_q, early)
        contrast = (log_p - early).log_softmax(-1)
        if alpha:
            low = log_p < log_p.amax(-1, keepdim=True) + torch.log(torch.tensor(alpha))
            contrast = contrast.masked_fill(low, -1000.0)
        return float(contrast[range(len(where)), list(answer.targets)].double().sum())

    def naive(chosen=sample) -> list[float]:
        with uninstalled(model, "sdpa"):
            return [one(*cell) for cell in chosen]

    def fast():
        return [scored.frame for scored in scores(engine, answers, buckets, SETTINGS)]

    found = {}
    for frame in fast():
        for row in frame[frame["variant"] == "softmax"].itertuples():
            found[row.question, row.answer, row.bucket, row.alpha] = row.score
    # Every setting of the grid is compared with several answers.
    checked = cells[:: max(1, len(cells) // CHECKED)]
    expected = naive(checked)
    got = [found[answer.question, answer.answer, bucket, alpha] for answer, bucket, alpha in checked]
    error = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(got, expected, strict=True))
    if error > 1e-4:
        sys.exit(f"DoLa: scores differ from the naive loop by {error:.1e}")
    # Base and length bias need no premature layer; they are left out of the naive count, in its favour.
    runs = len(answers) * len(grid) * 2
    slow, quick, rates = interleaved(naive, fast)
    agreement = f"largest difference {error:.1e} of {len(checked)} scores"
    return report("DoLa", slow, quick, rates, runs / SAMPLE, flops_of(fast), agreement)


def cost_of_settings(engine: Engine, answers) -> dict:
    """What one more bucket and one more alpha cost of a pass with one of each, and one more candidate layer.

    A bucket is a choice among candidate layers: it is free as long as another bucket has its layers.
    """
    some = [answer for answer in answers if answer.question < FEW_QUESTIONS]
    layers = sorted({layer for bucket in candidate_layers("auto", engine.model.layers).values() for layer in bucket})
    more = {f"bucket {i}": layers[i:] for i in range(MORE)}
    alphas = [i / (MORE + 1) for i in range(MORE + 1)]

    def run(buckets: dict, **changed):
        return lambda: list(scores(engine, some, buckets, SETTINGS | {"alphas": [0.1]} | changed))

    all_layers = {"bucket": layers}
    runs = {
        "base": (1, run(all_layers)),
        "bucket": (MORE, run(all_layers | more)),
        "alpha": (MORE, run(all_layers, alphas=alphas)),
        "alpha, base with masked tokens removed": (1, run(all_layers, dola_mask="removed")),
        "alpha, masked tokens removed": (MORE, run(all_layers, dola_mask="removed", alphas=alphas)),
        "candidate layer": (1 - len(layers), run({"bucket": layers[:1]})),
    }
    seconds = {name: [] for name in runs}
    for _ in range(REPEATS):
        for name, (_, call) in runs.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    figures = {}
    for name in ("bucket", "alpha", "alpha, masked tokens removed", "candidate layer"):
        base = "alpha, base with masked tokens removed" if "removed" in name else "base"
        shares = [(b - a) / runs[name][0] / a for a, b in zip(seconds[base], seconds[name], strict=True)]
        figures[name] = {"share": statistics.median(shares), "range": [min(shares), max(shares)]}
        print(
            f"DoLa, one more {name}: {statistics.median(shares):.1%} [{min(shares):.1%}, {max(shares):.1%}] of a pass "
            f"over {len(layers)} candidate layers ({statistics.median(seconds[base]):.2f} s)",
            flush=True,
        )
    return figures
