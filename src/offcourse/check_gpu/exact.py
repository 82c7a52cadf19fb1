"""Engine against plain forwards on the device: every class, in float32 and in half precision."""

import torch

from offcourse.check_gpu.subjects import Subject, build, prompt
from offcourse.engine import Engine, HeadRows, unembed
from offcourse.engine.attention import uninstalled
from offcourse.engine.checks import TIMES_FLOOR, engine_agrees
from offcourse.engine.edit_checks import agreement
from offcourse.engine.edits import Edit
from offcourse.models.load import LanguageModel

# Long enough to cross the sliding windows, and as short as the study's prompts.
TOKENS = 40
READ_OUT = "the read-out equals the softmax of the plain logits"
WIDE = "logits in float32 equal products in float32"
EVERY_TOKEN = "edits of every token equal one forward per edit"
ANSWERS = "edits of an answer's tokens equal one forward per edit"
# Tokens of an answer.
ANSWER = 8


def check(subject: Subject, dtype: str, device: str) -> dict[str, dict]:
    """`check_model` on a random model of this subject."""
    return check_model(build(subject.row, dtype, device), subject)


def check_model(model: LanguageModel, subject: Subject) -> dict[str, dict]:
    """{check: passed, error, rounding floor, limit}, as in `engine.checks`."""
    engine = Engine(model)
    ids = prompt(subject.row, TOKENS)
    return {
        **engine_agrees(engine, ids),
        EVERY_TOKEN: agreement(engine, [ids], _edits(engine, ids, "all")).report(),
        ANSWERS: agreement(engine, [ids[:-ANSWER]], _edits(engine, ids, "answer"), [ids[-ANSWER:]]).report(),
        READ_OUT: _read_out(engine, ids),
        WIDE: _wide(engine, ids),
    }


def _edits(engine: Engine, ids: list[int], positions: str) -> list[Edit]:
    """Edits as steering methods make them: of one block, of all blocks, and of the heads of a block."""
    model = engine.model
    middle, generator = model.layers // 2, torch.Generator().manual_seed(6)
    # As large as the stream itself, as in the checks at load.
    size = engine.capture_residuals([ids])[0, middle].square().mean().sqrt()
    vector = size * torch.randn(model.width, generator=generator)
    direction = torch.randn(model.width, generator=generator)
    heads = engine.capture_heads([ids], [len(ids) - 1])[0].roll(1, 1)
    return [
        *(Edit("residual", "add", positions, {layer: vector}) for layer in (0, middle, model.layers - 1)),
        Edit("residual", "project_out", positions, {middle: direction / direction.norm()}),
        Edit("residual", "add_keeping_norm", positions, dict.fromkeys(range(model.layers), direction / 30)),
        Edit("heads", "add", positions, {middle: heads[middle]}),
    ]


@torch.inference_mode()
def _read_out(engine: Engine, ids: list[int]) -> dict:
    """Compare log-probability and rank of the likeliest tokens with the plain logits of the same final states.

    The rounding floor is the larger of two: the effect of rounding the largest logit once, and the difference when the
    plain head computes each state alone.
    """
    model = engine.model
    seen = []
    handle = model.norm.register_forward_hook(lambda module, args, out: seen.append(out))
    with uninstalled(model):
        logits = model.module(torch.tensor([ids], device=model.input_device), use_cache=False).logits[0].double()
    handle.remove()
    states = seen[0].view(-1, seen[0].shape[-1])
    targets = logits.argmax(-1)
    expected = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0].cpu()
    found = unembed.read(model.head, states, targets.cpu(), model.final_softcap, probability=True).cpu()
    error = float((found.probability.double().log() - expected).abs().max())
    hits = unembed.read(model.head, states, targets.cpu(), model.final_softcap, probability=False).cpu()
    alone = torch.cat([model.head(state[None]) for state in states]).double()
    if model.final_softcap is not None:
        alone = torch.tanh(alone / model.final_softcap) * model.final_softcap
    alone = alone.log_softmax(-1).gather(1, targets[:, None])[:, 0].cpu()
    floor = max(float((alone - expected).abs().max()), float(logits.abs().max()) * torch.finfo(model.module.dtype).eps)
    # If two tokens are within two roundings of each other, either may be the most likely.
    best, second = logits.topk(2).values.T.cpu()
    clear = best - second > 2 * torch.finfo(model.module.dtype).eps * best.abs()
    right = bool((found.hit & hits.hit)[clear].all())
    limit = max(TIMES_FLOOR * floor, 1e-5)
    return {"passed": right and error <= limit, "error": error, "floor": floor, "limit": limit}


@torch.inference_mode()
def _wide(engine: Engine, ids: list[int]) -> dict:
    """Compare `logits_dtype: float32` with the head's weights and the same states as float32 numbers.

    The rounding floor is what float32 makes of a sum of as many products as the state is wide.
    """
    model = engine.model
    states = engine.row_states([ids], HeadRows(torch.zeros(model.layers, model.heads, model.head_dim)))[0]
    head = model.head
    bias = 0 if head.bias is None else head.bias.double()
    logits = states.double() @ head.weight.T.double() + bias
    if model.final_softcap is not None:
        logits = torch.tanh(logits / model.final_softcap) * model.final_softcap
    targets = logits.argmax(-1)
    expected = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0].cpu()
    found = unembed.read(head, states, targets.cpu(), model.final_softcap, probability=True, wide=True).cpu()
    error = float((found.probability.double().log() - expected).abs().max())
    floor = float(logits.abs().max()) * torch.finfo(torch.float32).eps * model.width**0.5
    limit = TIMES_FLOOR * floor
    return {"passed": error <= limit, "error": error, "floor": floor, "limit": limit}
