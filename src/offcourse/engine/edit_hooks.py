"""Edits as hooks on a model that runs one whole sequence."""

from collections.abc import Callable

import torch
from torch import Tensor

from offcourse.engine.edits import OPERATIONS, Edit
from offcourse.models.load import LanguageModel


def hooks_of(model: LanguageModel, edit: Edit, prompt: int, length: int) -> Callable[[], list]:
    """A function that hangs the edit into the model, for the first sequence of a batch, and returns the hooks.

    prompt, length: tokens of the prompt and of the sequence. Edits of logits change no state, and have no hook.
    """
    tokens = edit.tokens(torch.arange(length), prompt).nonzero()[:, 0]

    def changed(hidden: Tensor, value: Tensor) -> Tensor:
        hidden = hidden.clone()
        value = value.to(hidden)[: len(tokens)] if edit.positions == "first" else value.to(hidden)
        at = tokens.to(hidden.device)
        hidden[0, at] = OPERATIONS[edit.operation](hidden[0, at], value)
        return hidden

    def after(value: Tensor):
        def hook(module, args, out):
            if isinstance(out, tuple):
                return (changed(out[0], value), *out[1:])
            return changed(out, value)

        return hook

    def before(value: Tensor):
        def hook(module, args):
            heads = args[0].unflatten(-1, (model.heads, -1))
            return (changed(heads, value[:, : heads.shape[-1]]).flatten(-2), *args[1:])

        return hook

    def hooks() -> list:
        if edit.site == "logits":
            return []
        if edit.site == "heads":
            return [model.projections[layer].register_forward_pre_hook(before(v)) for layer, v in edit.values.items()]
        return [model.blocks[layer].register_forward_hook(after(v)) for layer, v in edit.values.items()]

    return hooks
