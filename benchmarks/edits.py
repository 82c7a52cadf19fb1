"""Edits at answer tokens: a sweep over layers and strengths on one question against one forward per edit."""

import torch
from torch.nn.utils.rnn import pad_sequence

from benchmarks.timing import SAMPLE, compared
from offcourse.engine import Engine
from offcourse.engine.attention import uninstalled
from offcourse.engine.edited import score_answers
from offcourse.engine.edits import Edit

STRENGTHS = (1, 4, 16)
ANSWERS = 4


@torch.inference_mode()
def compare_edits(engine: Engine, prompt: list[int], answers: list[list[int]]) -> dict:
    """All layers and three strengths on a question with four answers, which one forward carries as a batch.

    The naive forward unembeds the tokens at which the answers are predicted, and no others.
    """
    model, answers = engine.model, answers[:ANSWERS]
    direction = torch.randn(model.width, generator=torch.Generator().manual_seed(1))
    grid = [(layer, strength * direction) for layer in range(model.layers) for strength in STRENGTHS]
    edits = [Edit("residual", "add", "answer", {layer: value}) for layer, value in grid]
    sample = range(0, len(grid), len(grid) // SAMPLE)[:SAMPLE]
    tokens = pad_sequence([torch.tensor([*prompt, *answer[:-1]]) for answer in answers], batch_first=True)
    begin = len(prompt) - 1

    def one(layer: int, value: torch.Tensor) -> list[float]:
        def add(module, args, out):
            hidden = (out[0] if isinstance(out, tuple) else out).clone()
            hidden[:, begin:] += value
            return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

        handle = model.blocks[layer].register_forward_hook(add)
        states = model.module.base_model(tokens, use_cache=False).last_hidden_state
        handle.remove()
        found = []
        for mine, answer in zip(states, answers, strict=True):
            logs = model.head(mine[begin : begin + len(answer)]).log_softmax(-1)
            found.append(float(logs[range(len(answer)), answer].sum()))
        return found

    def naive(cells=sample) -> torch.Tensor:
        with uninstalled(model, "sdpa"):
            return torch.tensor([one(*grid[cell]) for cell in cells])

    def fast() -> torch.Tensor:
        return score_answers(engine, prompt, answers, edits)

    checked = range(0, len(grid), 7)
    expected, got = naive(checked), fast()[1:][list(checked)]
    name = f"{len(grid)} edits of {ANSWERS} answers behind {len(prompt)} tokens"
    return compared(name, naive, fast, expected, got, len(grid) / len(sample))
