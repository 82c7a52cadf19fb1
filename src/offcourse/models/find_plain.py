"""Finding the row of a class for the plain path, from the structure of its model and one forward of a few tokens."""

from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import nn

from offcourse.data.architectures import Architecture
from offcourse.errors import OffcourseError
from offcourse.models.find import (
    LOGIT_SCALES,
    RESIDUAL_SCALES,
    TOKENS,
    _attention,
    _blocks,
    _is_norm,
    _lacks,
    _scale,
    complete_row,
    find_row,
)


@torch.inference_mode()
def find_plain_row(module: nn.Module, name: str) -> Architecture:
    """The row of `module`, a causal language model of `transformers`, for the plain path.

    Where every block has the same attention with an output projection, the row names it. Elsewhere the first part of a
    block that runs is its mixer, and later parts are its feed-forward network; norms and activations are neither.

    Raises `OffcourseError` that names the class when blocks carry anything but one state per token.
    """
    blocks_at, blocks = _blocks(module)
    ran = _ran(module, blocks)
    _require_one_state(module, ran[len(ran) // 2][1])
    if _attention(blocks) is not None:
        row = complete_row(module, find_row(module, name))
        return replace(row, attention_interface=False, logit_scale=_scale_of_logits(module, row.final_norm))
    mixers: list[str] = []
    networks: list[str] = []
    for block, (order, _) in zip(blocks, ran, strict=True):
        names = dict.fromkeys(order)
        parts = [part for part in names if not _is_norm(getattr(block, part)) and _has_matrix(getattr(block, part))]
        if not parts:
            raise _lacks(module, f"a part with weights in each of its {len(blocks)} blocks")
        mixers.append(parts[0])
        networks += parts[1:]
    final_norm = _last_norm(module, blocks_at)
    return Architecture(
        name,
        causal_lm=type(module).__name__,
        blocks=blocks_at,
        final_norm=final_norm,
        attention="|".join(dict.fromkeys(mixers)),
        attention_output="",
        mlp_output="+".join(dict.fromkeys(networks)),
        attention_interface=False,
        tuple_output=isinstance(ran[0][1], tuple),
        logit_scale=_scale_of_logits(module, final_norm),
        residual_scale=_scale(module.config, RESIDUAL_SCALES),
    )


def _has_matrix(part: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in part.parameters())


def _ran(module: nn.Module, blocks: list[nn.Module]) -> list[tuple[list[str], object]]:
    """Per block: the names of its direct parts in the order in which they ran, and what the block returned."""
    order: list[list[str]] = [[] for _ in blocks]
    outputs: dict[int, object] = {}
    with ExitStack() as stack:
        for index, block in enumerate(blocks):
            for name, part in block.named_children():
                note = lambda part, args, name=name, index=index: order[index].append(name)  # noqa: E731
                stack.callback(part.register_forward_pre_hook(note).remove)
            keep = lambda part, args, out, index=index: outputs.update({index: out})  # noqa: E731
            stack.callback(block.register_forward_hook(keep).remove)
        module.base_model(input_ids=_tokens(module), use_cache=False)
    return [(ran, outputs[index]) for index, ran in enumerate(order)]


def _require_one_state(module: nn.Module, out: object) -> None:
    state = out[0] if isinstance(out, tuple) else out
    if state.shape[:-1] != (1, TOKENS):
        raise OffcourseError(
            f"{type(module).__name__}: its blocks carry states of the shape {list(state.shape)} for {TOKENS} tokens, "
            "so a token has several streams, which are mixed behind the last block, and no one stream that an edit "
            "changes"
        )


def _tokens(module: nn.Module) -> torch.Tensor:
    return torch.arange(2, 2 + TOKENS, device=module.get_input_embeddings().weight.device)[None]


def _last_norm(module: nn.Module, blocks_at: str) -> str:
    """Path of the norm beside the blocks that runs last; some classes name theirs after the embedding (Lfm2)."""
    above = blocks_at.rpartition(".")[0]
    order: list[str] = []
    with ExitStack() as stack:
        for name, part in module.get_submodule(above).named_children():
            if _is_norm(part):
                note = lambda part, args, name=name: order.append(name)  # noqa: E731
                stack.callback(part.register_forward_pre_hook(note).remove)
        module.base_model(input_ids=_tokens(module), use_cache=False)
    if not order:
        raise _lacks(module, "a final norm beside the blocks")
    return f"{above}.{order[-1]}" if above else order[-1]


def _scale_of_logits(module: nn.Module, final_norm: str) -> str:
    """The formula of the factor of the logits; "1" where the class ignores the entry of its configuration (MPT)."""
    formula = _scale(module.config, LOGIT_SCALES)
    if formula == "1":
        return formula
    normed: list[torch.Tensor] = []
    handle = module.get_submodule(final_norm).register_forward_hook(lambda part, args, out: normed.append(out))
    try:
        logits = module(input_ids=_tokens(module), use_cache=False).logits
    finally:
        handle.remove()
    return "1" if torch.allclose(module.get_output_embeddings()(normed[-1]), logits, rtol=1e-3) else formula
