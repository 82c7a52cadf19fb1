"""The slow, obvious way: one whole forward of the plain model for every edit."""

import torch

from offcourse.engine.attention import uninstalled


def logits(model, ids) -> torch.Tensor:
    """[sequence, vocabulary] float32 of the plain model."""
    return batch_logits(model, [ids])[0]


@torch.inference_mode()
def batch_logits(model, prompts) -> torch.Tensor:
    """[prompts, sequence, vocabulary] float32 of the plain model, for prompts of one length."""
    tokens = torch.tensor([list(ids) for ids in prompts], device=model.input_device)
    with uninstalled(model):
        return model.module(tokens, use_cache=False).logits.float()


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
    return each_residual_edited(model, ids, layer, vector[None], replace)[0]


def each_residual_edited(model, ids, layer, vectors, replace=False) -> torch.Tensor:
    """`residual_edited` of each of `vectors` [edits, width], as a batch of whole prompts: [edits, vocabulary]."""

    def edit(module, args, out):
        hidden = (out[0] if isinstance(out, tuple) else out).clone()
        hidden[:, -1] = vectors.to(hidden) if replace else hidden[:, -1] + vectors.to(hidden)
        return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

    handle = model.blocks[layer].register_forward_hook(edit)
    try:
        return batch_logits(model, [ids] * len(vectors))[:, -1]
    finally:
        handle.remove()


@torch.inference_mode()
def plain_hidden_states(model, ids) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Every block's input [sequence, width], as `transformers` returns them, and the logits [sequence, vocabulary]."""
    with uninstalled(model):
        tokens = torch.tensor([list(ids)], device=model.input_device)
        out = model.module(tokens, use_cache=False, output_hidden_states=True)
    return [states[0] for states in out.hidden_states[: model.layers]], out.logits[0].float()


def changed(state, operation, value):
    """One token's state (or one head's output) under an operation, spelled out in float64."""
    state, value = state.double(), value.double()
    if operation == "add":
        return state + value
    if operation == "replace":
        return value
    if operation == "scale":
        return state * value
    if operation == "project_out":
        return state - torch.dot(state, value) * value
    assert operation == "add_keeping_norm"
    unit = state / state.square().sum().sqrt() + value
    return unit / unit.square().sum().sqrt() * state.square().sum().sqrt()


def edited_places(positions: str, prompt: int, whole: int, rows: int = 0) -> list[int]:
    """The edited tokens of a text of `whole` tokens that begins with a prompt of `prompt` tokens.

    rows: of a value with a row for each of the first tokens.
    """
    return {
        "last": [prompt - 1],
        "prompt": list(range(prompt)),
        "answer": list(range(prompt - 1, whole)),
        "all": list(range(whole)),
        "first": list(range(min(rows, prompt))),
    }[positions]


@torch.inference_mode()
def edited(model, ids, tokens, site, operation, values) -> torch.Tensor:
    """[sequence, vocabulary] logits of one whole forward with an edit at the positions `tokens`.

    values: {layer: value}; of the residual stream [width], or a list of them, one for each of `tokens`; of heads
    [heads, head_dim]; of logits [vocabulary].
    """

    def after_block(layer):
        def hook(module, args, out):
            hidden = (out[0] if isinstance(out, tuple) else out).clone()
            for place, token in enumerate(tokens):
                value = values[layer] if values[layer].dim() == 1 else values[layer][place]
                hidden[0, token] = changed(hidden[0, token], operation, value).to(hidden)
            return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

        return hook

    def before_projection(layer):
        def hook(module, args):
            heads = args[0].clone()
            size = heads.shape[2] // model.heads
            for token in tokens:
                for head in range(model.heads):
                    part = slice(head * size, (head + 1) * size)
                    value = values[layer][head][:size]
                    heads[0, token, part] = changed(heads[0, token, part], operation, value).to(heads)
            return (heads, *args[1:])

        return hook

    handles = []
    if site == "residual":
        handles = [model.blocks[layer].register_forward_hook(after_block(layer)) for layer in values]
    if site == "heads":
        handles = [model.projections[layer].register_forward_pre_hook(before_projection(layer)) for layer in values]
    found = logits(model, ids)
    for handle in handles:
        handle.remove()
    if site == "logits":
        [value] = values.values()
        for token in tokens:
            found[token] = changed(found[token], operation, value).float()
    return found
