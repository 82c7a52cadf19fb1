"""The slow, obvious way: one whole forward of the plain model for every edit."""

import torch

from offcourse.engine.attention import uninstalled


@torch.inference_mode()
def logits(model, ids) -> torch.Tensor:
    """[sequence, vocabulary] float32 of the plain model."""
    with uninstalled(model):
        return model.module(torch.tensor([list(ids)], device=model.input_device), use_cache=False).logits[0].float()


def probability(model, ids, target) -> float:
    return float(logits(model, ids)[-1].softmax(-1)[target])


def head_outputs(model, ids, position) -> torch.Tensor:
    """[layers, heads, head_dim]: the attention output projections' inputs at one position."""
    seen = []
    handles = [
        p.register_forward_pre_hook(lambda m, a: seen.append(a[0][0, position].clone())) for p in model.projections
    ]
    logits(model, ids)
    for handle in handles:
        handle.remove()
    return torch.stack([x.cpu() for x in seen]).view(model.layers, model.heads, model.head_dim)


def head_patched(model, ids, target, layer, head, value, drop_bias=False) -> float:
    """Probability of `target` when one head's output at the last position is replaced by `value`."""
    projection = model.projections[layer]

    def replace(module, args):
        heads = args[0].clone()
        heads[0, -1, head * model.head_dim : (head + 1) * model.head_dim] = value.to(heads)
        return (heads,)

    handles = [projection.register_forward_pre_hook(replace)]
    if drop_bias and projection.bias is not None:
        handles.append(projection.register_forward_hook(lambda module, args, out: args[0] @ module.weight.T))
    try:
        return probability(model, ids, target)
    finally:
        for handle in handles:
            handle.remove()


def head_logits(model, ids, layer, head, value) -> torch.Tensor:
    """Last logits [vocabulary] when one head's output at the last position is replaced by `value`."""

    def replace(module, args):
        heads = args[0].clone()
        size = heads.shape[2] // model.heads
        heads[0, -1, head * size : (head + 1) * size] = value[:size].to(heads)
        return (heads,)

    handle = model.projections[layer].register_forward_pre_hook(replace)
    try:
        return logits(model, ids)[-1]
    finally:
        handle.remove()


def unembedded(model, state) -> torch.Tensor:
    """The logits [vocabulary] of one state as the engine gives it."""
    out = model.head(state).float()
    return out if model.final_softcap is None else torch.tanh(out / model.final_softcap) * model.final_softcap


def residual_edited(model, ids, layer, vector, replace=False) -> torch.Tensor:
    """Last logits [vocabulary] when `vector` is added to (or put in place of) a block's last output state."""

    def edit(module, args, out):
        hidden = (out[0] if isinstance(out, tuple) else out).clone()
        hidden[0, -1] = vector.to(hidden) if replace else hidden[0, -1] + vector.to(hidden)
        return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

    handle = model.blocks[layer].register_forward_hook(edit)
    try:
        return logits(model, ids)[-1]
    finally:
        handle.remove()


@torch.inference_mode()
def plain_hidden_states(model, ids) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Every block's input [sequence, width], as `transformers` returns them, and the logits [sequence, vocabulary]."""
    with uninstalled(model):
        tokens = torch.tensor([list(ids)], device=model.input_device)
        out = model.module(tokens, use_cache=False, output_hidden_states=True)
    return [states[0] for states in out.hidden_states[: model.layers]], out.logits[0].float()
