"""Function and task vectors: rows of one pass against one plain forward (or two) per edit."""

import sys

import torch

from benchmarks.flops import flops_of
from benchmarks.timing import SAMPLE, interleaved, report
from offcourse.engine import Engine, HeadRows, ResidualRows
from offcourse.engine.attention import uninstalled
from offcourse.methods.tv_sweep import sweep

# The paper's grid.
N_HEADS = (2, 16, 32, 64, 128, 256, 512)
STRENGTHS = (0.5, 1, 2, 4, 8, 16, 32, 64)


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
    slow, quick, rates = interleaved(plain, fast)
    return report(
        "CIE", slow, quick, rates, len(grid) / SAMPLE, flops_of(fast), f"largest relative difference {error:.1e}"
    )


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
    slow, quick, rates = interleaved(plain, fast)
    agreement = f"same hits on {len(checked)} cells, {sum(expected)} of them hits"
    return report("sweep", slow, quick, rates, len(grid) / SAMPLE, flops_of(fast), agreement)


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
        return torch.stack(list(sweep(engine, queries, vectors))).tolist()

    checked, got = grid[::7], fast()
    expected = naive(checked)
    if [got[item][layer] for item, layer in checked] != expected:
        sys.exit("task vectors: predictions differ from the naive loop")
    slow, quick, rates = interleaved(naive, fast)
    agreement = f"same predictions on {len(checked)} cells, {len(set(expected))} different tokens among them"
    return report("task vectors", slow, quick, rates, len(grid) / SAMPLE, flops_of(fast), agreement)
