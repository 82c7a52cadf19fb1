"""Self-checks of a loaded model, which fail when the table of classes (`data.architectures`) is wrong for the model.

The checks use plain hooks and the model's own forward and nothing of the engine.
"""

from collections.abc import Callable
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from offcourse.models.load import LanguageModel
from offcourse.models.plain import PlainModel
from offcourse.models.tokenizer import Tokenizer

HEADS = "head slices sum to the attention output"
# In the report of a model with a block that has none.
HAS_HEADS = "every block has attention heads"
# Largest accepted error, relative to the largest number compared. Half precision rounds at every sum.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def run_checks(model: LanguageModel, tokenizer: Tokenizer, plain_ids: list[int], prompt: str) -> dict[str, dict]:
    """Run every check on one prompt; {check: {"passed": bool, "error": largest relative error}}.

    prompt: a text whose last token begins after everything before. plain_ids: token ids of the prompt by
    `transformers`' tokenizer.
    """
    ids = tokenizer.encode(prompt)
    report = model_checks(model, ids)
    last = tokenizer.decode(ids[-1:])
    read_at_end = bool(last) and prompt.endswith(last)
    report["the read position decodes to the end of the prompt"] = {"passed": read_at_end, "error": 0.0}
    report["the tokenizer is that of transformers"] = {"passed": ids == list(plain_ids), "error": 0.0}
    known = tokenizer.adds_bos == (ids[0] == model.module.config.bos_token_id)
    report["a token in front of the text is BOS"] = {"passed": known, "error": 0.0}
    return report


@torch.inference_mode()
def model_checks(model: LanguageModel, ids: list[int]) -> dict[str, dict]:
    """The checks of `run_checks` that need no tokenizer, on the prompt of the token ids `ids`."""
    results = {
        "lens at the last layer equals the logits": _lens(model, ids),
        **({HEADS: _heads(model, ids)} if model.projections else {}),
        "sub-layers sum to the block output": _sublayers(model, ids),
        "an edit by zero changes nothing": _zero_edit(model, ids),
        "an edit changes the logits": _set_edit(model, ids),
    }
    tolerance = TOLERANCE[model.module.dtype]
    found = {name: {"passed": error <= tolerance, "error": error} for name, error in results.items()}
    return found if model.projections else found | {HAS_HEADS: {"passed": False, "error": 0.0}}


def _relative(got: Tensor, expected: Tensor) -> float:
    scale = expected.abs().max().clamp_min(1e-12)
    return float(((got.cpu() - expected.cpu()).abs().max() / scale.cpu()).float())


def _logits(model: LanguageModel, ids: list[int]) -> Tensor:
    return model.module(torch.tensor([ids], device=model.input_device), use_cache=False).logits[0].float()


@contextmanager
def _seen(**modules):
    """Record the first input and the output of some modules, by name."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def recorder(name: str) -> Callable:
        def hook(module, args, kwargs, out):
            first = args[0] if args else kwargs["hidden_states"]
            # Copies, since some classes add into what a part has returned (Falcon).
            seen[name] = first.clone(), (out[0] if isinstance(out, tuple) else out).clone()

        return hook

    handles = [module.register_forward_hook(recorder(name), with_kwargs=True) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _lens(model: LanguageModel, ids: list[int]) -> float:
    with _seen(norm=model.norm) as seen:
        logits = _logits(model, ids)
    lens = model.head(model.scaled(seen["norm"][1]).to(model.head_device)).float()[0]
    if model.final_softcap is not None:
        lens = torch.tanh(lens / model.final_softcap) * model.final_softcap
    return _relative(lens, logits)


def _heads(model: LanguageModel, ids: list[int]) -> float:
    """Error of: the sum over heads of W_O applied to one head is the projection's output (Eq. 3, bias added once)."""
    projection = model.projections[model.layers // 2]
    with _seen(out=projection) as seen:
        _logits(model, ids)
        slots, out = seen["out"][0][0, -1], seen["out"][1][0, -1].float()
    alone = torch.zeros(model.heads, len(slots), device=slots.device, dtype=slots.dtype)
    size = len(slots) // model.heads
    for head in range(model.heads):
        part = slice(head * size, (head + 1) * size)
        alone[head, part] = slots[part]
    each = projection(alone).float()
    nothing = projection(torch.zeros_like(alone[:1])).float()
    return _relative((each - nothing).sum(0) + nothing[0], out)


def _sublayers(model: LanguageModel, ids: list[int]) -> float:
    """Error of: block output = block input + attention + feed-forward, each after its norm where the class has one."""
    block, parts = model.blocks[model.layers // 2], _added(model, model.layers // 2)
    with _seen(block=block, **{f"part{i}": module for i, module in enumerate(parts)}) as seen:
        _logits(model, ids)
    before, after = seen["block"]
    added = [seen[f"part{i}"][1].to(before.device).reshape(before.shape) for i in range(len(parts))]
    total = before + sum(added) * model.residual_scale
    return _relative(total.float(), after.float())


def _added(model: LanguageModel, layer: int) -> list[nn.Module]:
    """The modules of a block whose outputs are added to its input."""
    row, block = model.architecture, model.blocks[layer]
    if row.post_norms:
        return [block.get_submodule(name) for name in row.post_norms]
    if isinstance(model, PlainModel):
        return [model.mixers[layer], *model.networks[layer]]
    return [block.get_submodule(name) for name in (row.attention_output, row.mlp_output)]


def _edited(model: LanguageModel, ids: list[int], edit: Tensor) -> Tensor:
    def hook(module, args, out):
        hidden = (out[0] if isinstance(out, tuple) else out).clone()
        hidden[0, -1] += edit.to(hidden.device, hidden.dtype)
        return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

    handle = model.blocks[model.layers // 2].register_forward_hook(hook)
    try:
        return _logits(model, ids)[-1]
    finally:
        handle.remove()


def _zero_edit(model: LanguageModel, ids: list[int]) -> float:
    return _relative(_edited(model, ids, torch.zeros(model.width)), _logits(model, ids)[-1])


def _set_edit(model: LanguageModel, ids: list[int]) -> float:
    """0 if an edit of the residual stream, as large as the stream or larger, changed the logits, infinite if not."""
    with _seen(block=model.blocks[model.layers // 2]) as seen:
        _logits(model, ids)
    size = max(10.0, float(seen["block"][1].float().square().mean().sqrt()))
    edit = size * torch.randn(model.width, generator=torch.Generator().manual_seed(0))
    change = _relative(_edited(model, ids, edit), _logits(model, ids)[-1])
    return 0.0 if change > 1e-2 else float("inf")
