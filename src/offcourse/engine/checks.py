"""The engine's own self-check, run on every model before it makes a result."""

from collections.abc import Sequence

import torch

from offcourse.engine.attention import uninstalled
from offcourse.engine.rows import HeadRows, ResidualRows
from offcourse.engine.run import Engine
from offcourse.models.checks import TOLERANCE


@torch.inference_mode()
def engine_agrees(engine: Engine, prompt: Sequence[int]) -> dict:
    """Rows with edits that change nothing must read as the plain model does, at every layer and head."""
    model = engine.model
    with uninstalled(model):
        tokens = torch.tensor([list(prompt)], device=model.input_device)
        probabilities = model.module(tokens, use_cache=False).logits[0, -1].float().softmax(-1)
    target = int(probabilities.argmax())
    own = engine.capture_heads([prompt], [len(prompt) - 1])[0]
    heads = engine.read_rows(prompt, target, HeadRows(own))[1].probability
    residual = engine.read_rows(prompt, target, ResidualRows(torch.zeros(1, model.width), model.layers))[1].probability
    plain = float(probabilities[target])
    error = float((torch.cat([heads, residual]) - plain).abs().max() / plain)
    return {"passed": error <= TOLERANCE[model.module.dtype], "error": error}
