"""Engine against plain forwards on the device: every class, in float32 and in half precision."""

import torch

from offcourse.check_gpu.subjects import Subject, build, prompt
from offcourse.engine import Engine, unembed
from offcourse.engine.attention import uninstalled
from offcourse.engine.checks import TIMES_FLOOR, engine_agrees
from offcourse.models.load import LanguageModel

# Long enough to cross the windows, short as the study's prompts.
TOKENS = 40
READ_OUT = "the read-out equals the softmax of the plain logits"


def check(subject: Subject, dtype: str, device: str) -> dict[str, dict]:
    """`check_model` of a random model of this subject."""
    return check_model(build(subject.row, dtype, device), subject)


def check_model(model: LanguageModel, subject: Subject) -> dict[str, dict]:
    """Per check whether it passed, its error, the rounding floor and the limit, as in `engine.checks`."""
    engine = Engine(model)
    ids = prompt(subject.row, TOKENS)
    return {**engine_agrees(engine, ids), READ_OUT: _read_out(engine, ids)}


@torch.inference_mode()
def _read_out(engine: Engine, ids: list[int]) -> dict:
    """Log-probability and rank of the likeliest tokens, from a final state, against the plain logits of that state.

    The floor is what one rounding of the largest logit moves, or what the plain head gives for each state alone.
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
    found = unembed.read(model.head, states, targets.cpu(), model.final_softcap, probability=True)
    error = float((found.probability.double().log() - expected).abs().max())
    hits = unembed.read(model.head, states, targets.cpu(), model.final_softcap, probability=False)
    alone = torch.cat([model.head(state[None]) for state in states]).double()
    if model.final_softcap is not None:
        alone = torch.tanh(alone / model.final_softcap) * model.final_softcap
    alone = alone.log_softmax(-1).gather(1, targets[:, None])[:, 0].cpu()
    floor = max(float((alone - expected).abs().max()), float(logits.abs().max()) * torch.finfo(model.module.dtype).eps)
    # Where another token is as near as two roundings, either may win.
    best, second = logits.topk(2).values.T.cpu()
    clear = best - second > 2 * torch.finfo(model.module.dtype).eps * best.abs()
    right = bool((found.hit & hits.hit)[clear].all())
    limit = max(TIMES_FLOOR * floor, 1e-5)
    return {"passed": right and error <= limit, "error": error, "floor": floor, "limit": limit}
