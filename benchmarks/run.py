"""`make bench`: the engine against the naive loops, in one process, interleaved, on SmolLM2 with real prompts.

The naive loops are the way of the study's released code: one full forward per head (CIE); a clean and an edited full
forward per setting and layer (sweep); one forward of the whole prompt per answer and setting, with the candidate layers
unembedded at the answer's positions only (DoLa). A naive run is timed over a sample of its forwards, spread evenly over
the whole loop, and scaled to it. Every figure is a median of `REPEATS` rounds, with the smallest and the largest.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path

import torch

from benchmarks.flops import matmul_rate, model_flops
from offcourse.engine import Engine, HeadRows, ResidualRows
from offcourse.engine.attention import uninstalled
from offcourse.methods.dola import candidate_layers, scores, tokenized
from offcourse.methods.tv_sweep import sweep
from offcourse.models.fetch import prepare
from offcourse.models.load import load
from offcourse.models.tokenizer import Tokenizer
from offcourse.prompts import build_prompts
from offcourse.questions import load_questions, prompt_text
from offcourse.registry import RESOURCES, Registry
from offcourse.task_vector_prompts import build_task_vector_prompts
from offcourse.tasks import load_pairs

MODEL, TASK = "smollm2-135m-instruct", "present-past"
N_HEADS = (2, 16, 32, 64, 128, 256, 512)
STRENGTHS = (0.5, 1, 2, 4, 8, 16, 32, 64)
ALPHAS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
QUESTIONS = 20
ITEMS = 4
REPEATS = 7
SAMPLE = 6


def main() -> None:
    """Run the benchmarks and print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=["release", "embedded"], default="release")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument(
        "--only", nargs="+", choices=["cie", "sweep", "task_vectors", "dola"], help="some of the figures"
    )
    options = parser.parse_args()
    torch.manual_seed(0)
    registry, downloads = Registry.load(), Path("resources/downloads")
    folder = downloads / "models" / MODEL
    if not (folder / "manifest.json").exists():
        prepare(registry.model(MODEL), registry, folder, downloads / "packages")
    model = load(folder, registry.model(MODEL).architecture, "float32")
    tokenizer = Tokenizer(folder)
    pairs = load_pairs(registry.task(TASK), options.data, RESOURCES, downloads)
    settings = dict(
        task=TASK,
        shots=10,
        trials=1,
        test_items=1,
        splits="overlapping",
        sampling="global",
        head_read_position="as_coded",
    )
    frame = build_prompts(pairs, settings, tokenizer.encode, tokenizer.adds_bos)
    prompt = {kind: frame[frame["kind"] == kind].iloc[0] for kind in ("cie", "query")}
    print(f"{MODEL}, {options.data} {TASK}, float32, {torch.get_num_threads()} threads, median of {REPEATS} [min, max]")
    vector_prompts = task_vector_prompts(registry, options.data, downloads, tokenizer)
    row = registry.question_set("truthfulqa" if options.data == "release" else "misconceptions")
    questions = load_questions(row, QUESTIONS, RESOURCES, downloads)
    answers = [
        answer
        for number, question in enumerate(questions)
        for answer in tokenized(tokenizer.encode, prompt_text(row.form, question), question, number)
    ]
    comparisons = {
        "cie": lambda: compare_cie(Engine(model), prompt["cie"].token_ids, int(prompt["cie"].target_id)),
        "sweep": lambda: compare_sweep(Engine(model), prompt["query"].token_ids),
        "task_vectors": lambda: compare_task_vectors(Engine(model), *vector_prompts),
        "dola": lambda: compare_dola(Engine(model), answers),
    }
    figures = {name: compare() for name, compare in comparisons.items() if name in (options.only or comparisons)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of this process, naive loops included: {peak:.2f} GiB")
    figures["peak_gib"] = peak
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


def interleaved(naive, fast) -> tuple[list[float], list[float], list[float]]:
    """Seconds of both, turn by turn, after one warm-up of each; and the best matmul rate seen between the turns."""
    naive(), fast()
    slow, quick, rates = [], [], []
    for _ in range(REPEATS):
        for call, seconds in ((naive, slow), (fast, quick)):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
        rates.append(matmul_rate())
    return slow, quick, rates


def report(name: str, slow, quick, rates, scale: float, flops: float, agreement: str) -> dict:
    """Print one comparison: ratio, times, share of matmul's rate."""
    ratios = [scale * a / b for a, b in zip(slow, quick, strict=True)]
    shares = [flops / seconds / rate for seconds, rate in zip(quick, rates, strict=True)]
    figures = {
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "seconds": statistics.median(quick),
        "naive_seconds": scale * statistics.median(slow),
        "share_of_matmul": statistics.median(shares),
        "share_range": [min(shares), max(shares)],
        "gflop": flops / 1e9,
        "agreement": agreement,
    }
    print(
        f"{name}: {figures['ratio']:.0f} times faster [{min(ratios):.0f}, {max(ratios):.0f}]; "
        f"{figures['seconds']:.3f} s against {figures['naive_seconds']:.1f} s; {flops / 1e9:.0f} GFLOP at "
        f"{figures['share_of_matmul']:.0%} [{min(shares):.0%}, {max(shares):.0%}] of matmul's best rate; {agreement}",
        flush=True,
    )
    return figures


@torch.inference_mode()
def compare_cie(engine: Engine, ids, target: int) -> dict:
    """All heads of one 10-shot prompt against one full forward per head."""
    model = engine.model
    means = engine.capture_heads([ids[:-2]], [len(ids) - 3])[0]
    grid = [(layer, head) for layer in range(model.layers) for head in range(model.heads)]
    sample = grid[:: len(grid) // SAMPLE][:SAMPLE]
    tokens = torch.tensor([list(ids)])

    def naive(cells=sample) -> torch.Tensor:
        found = []
        for layer, head in cells:
            part = slice(head * model.head_dim, (head + 1) * model.head_dim)

            def patch(module, args, layer=layer, head=head, part=part):
                heads = args[0].clone()
                heads[0, -1, part] = means[layer, head]
                return (heads,)

            handle = model.projections[layer].register_forward_pre_hook(patch)
            found.append(model.module(tokens, use_cache=False).logits[0, -1].softmax(-1)[target])
            handle.remove()
        return torch.stack(found)

    def fast() -> torch.Tensor:
        return engine.read_rows(ids, target, HeadRows(means))[1].probability

    def plain() -> torch.Tensor:
        with uninstalled(model, "sdpa"):
            return naive()

    with uninstalled(model, "sdpa"):
        checked = grid[::7]
        expected = naive(checked)
    got = fast().view(model.layers, model.heads)
    got = torch.stack([got[layer, head] for layer, head in checked])
    error = float(((got - expected).abs() / expected).max())
    flops = model_flops(model, len(ids), dict.fromkeys(range(model.layers), model.heads), 1 + len(grid))
    slow, quick, rates = interleaved(plain, fast)
    return report("CIE", slow, quick, rates, len(grid) / SAMPLE, flops, f"largest relative difference {error:.1e}")


@torch.inference_mode()
def compare_sweep(engine: Engine, ids) -> dict:
    """56 settings x all layers of one 0-shot prompt against a clean and an edited forward each.

    A hit is the token that the unedited prompt predicts, so that weak edits hit and strong ones miss.
    """
    model = engine.model
    directions = torch.randn(len(N_HEADS), model.width)
    edits = torch.cat([strength * directions for strength in STRENGTHS])
    grid = [(layer, index) for layer in range(model.layers) for index in range(len(edits))]
    sample = grid[:: len(grid) // SAMPLE][:SAMPLE]
    tokens = torch.tensor([list(ids)])
    with uninstalled(model, "sdpa"):
        target = int(model.module(tokens).logits[0, -1].argmax())

    def naive(cells=sample) -> list[bool]:
        found = []
        for layer, index in cells:
            model.module(tokens, use_cache=False)

            def add(module, args, out, index=index):
                out[0, -1] += edits[index]
                return out

            handle = model.blocks[layer].register_forward_hook(add)
            found.append(bool(model.module(tokens, use_cache=False).logits[0, -1].argmax() == target))
            handle.remove()
        return found

    def fast() -> torch.Tensor:
        return engine.read_rows(ids, target, ResidualRows(edits, model.layers), probability=False)[1].hit

    def plain() -> list[bool]:
        with uninstalled(model, "sdpa"):
            return naive()

    checked = grid[::13]
    with uninstalled(model, "sdpa"):
        expected = naive(checked)
    got = fast().view(model.layers, len(edits))
    same = [bool(got[layer, index]) for layer, index in checked] == expected
    if not same:
        sys.exit("sweep: hits differ from the naive loop")
    rows = {layer: len(edits) for layer in range(1, model.layers + 1)}
    flops = model_flops(model, len(ids), rows, 1 + len(grid))
    slow, quick, rates = interleaved(plain, fast)
    agreement = f"same hits on {len(checked)} cells, {sum(expected)} of them hits"
    return report("sweep", slow, quick, rates, len(grid) / SAMPLE, flops, agreement)


def task_vector_prompts(registry, data: str, downloads: Path, tokenizer) -> tuple[list, list]:
    """Queries of task vectors, and the dummy prompts that their vectors are read from, one each."""
    task = registry.task(TASK)
    pairs = load_pairs(task, data, RESOURCES, downloads, "task_vectors")
    settings = dict(task=TASK, shots=5, dummy_queries=1, dev_items=ITEMS, test_items=1, baseline_items=1)
    frame = build_task_vector_prompts(pairs, settings, task.task_vector_match, tokenizer.encode, tokenizer.encode_bare)
    return tuple(list(frame[frame["kind"] == f"tv_dev_{what}"]["token_ids"]) for what in ("query", "dummy"))


@torch.inference_mode()
def compare_task_vectors(engine: Engine, queries, dummies) -> dict:
    """The sweep of some items over all layers against a forward per layer and item."""
    model = engine.model
    vectors = engine.capture_residuals(dummies)
    grid = [(item, layer) for item in range(len(queries)) for layer in range(model.layers)]
    sample = grid[:: len(grid) // SAMPLE][:SAMPLE]

    def naive(cells=sample) -> list[int]:
        found = []
        for item, layer in cells:

            def replace(module, args, out, vector=vectors[item, layer]):
                out[0, -1] = vector
                return out

            handle = model.blocks[layer].register_forward_hook(replace)
            tokens = torch.tensor([list(queries[item])])
            with uninstalled(model, "sdpa"):
                found.append(int(model.module(tokens, use_cache=False).logits[0, -1].argmax()))
            handle.remove()
        return found

    def fast() -> list[list[int]]:
        return [sweep(engine, ids, vector).tolist() for ids, vector in zip(queries, vectors, strict=True)]

    checked, got = grid[::7], fast()
    expected = naive(checked)
    if [got[item][layer] for item, layer in checked] != expected:
        sys.exit("task vectors: predictions differ from the naive loop")
    flops = sum(
        model_flops(model, len(ids), dict.fromkeys(range(1, model.layers + 1), 1), 1 + model.layers) for ids in queries
    )
    slow, quick, rates = interleaved(naive, fast)
    agreement = f"same predictions on {len(checked)} cells, {len(set(expected))} different tokens among them"
    return report("task vectors", slow, quick, rates, len(grid) / SAMPLE, flops, agreement)


@torch.inference_mode()
def compare_dola(engine: Engine, answers) -> dict:
    """All buckets, alphas and variants of some questions against one forward per answer and setting."""
    model = engine.model
    buckets = candidate_layers("auto", model.layers)
    settings = {
        "alphas": list(ALPHAS),
        "length_bias": 20.0,
        "length_bias (protocol)": "subtracted",
        "dola_divergence": "mean_kl",
        "dola_premature_norm": "none",
        "dola_mask": "constant",
        "score_dtype": "float64",
    }
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
        return [scored.frame for scored in scores(engine, answers, buckets, settings)]

    found = {}
    for frame in fast():
        for row in frame[frame["variant"] == "softmax"].itertuples():
            found[row.question, row.answer, row.bucket, row.alpha] = row.score
    expected = naive()
    got = [found[answer.question, answer.answer, bucket, alpha] for answer, bucket, alpha in sample]
    error = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(got, expected, strict=True))
    # Base and length bias need no premature layer; they are left out of the naive count, in its favour.
    runs = len(answers) * len(grid) * 2
    slow, quick, rates = interleaved(naive, fast)
    positions = sum(len(answer.targets) for answer in answers)
    layers = len({layer for members in buckets.values() for layer in members})
    flops = model_flops(model, positions, {}, positions * (layers + 1))
    return report("DoLa", slow, quick, rates, runs / SAMPLE, flops, f"largest difference {error:.1e}")


if __name__ == "__main__":
    main()
