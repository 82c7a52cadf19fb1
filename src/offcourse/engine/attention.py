"""One attention function for every class: a prompt token attends to earlier tokens of its prompt, a row to the prompt.

The sequence axis of a batch element holds first the `lead` tokens (a prompt, or a forest of prompts) and then the rows.
A row is another version of the prompt's last token: it sees the keys and values of every earlier token of the prompt,
and its own, but neither the original last token nor another row. Hence all rows are scored against the shared prefix in
one product and against themselves in a dot product. Several prompts with rows are one batch element each; a prompt that
is shorter than the longest is filled up behind its last token, where no token and no row of it attends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from offcourse.engine import locality
from offcourse.engine.placed import on_device
from offcourse.errors import OffcourseError
from offcourse.models.footprint import BYTES_PER_SCORE, SCORE_BYTES
from offcourse.models.load import LanguageModel

NAME = "offcourse"
# Arguments of `transformers` that change nothing in a pass: no token is dropped out at evaluation, nothing is cached,
# queries and keys are rotated already, and the pass has its own masks.
UNUSED = {
    "dropout",
    "is_causal",
    "position_ids",
    "position_embeddings",
    "cache_position",
    "past_key_values",
    "layer_past",
    "use_cache",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "return_dict",
}
# The fused kernels that prompts may use, and plain products where neither fits. cuDNN's is left out: it builds a plan
# for every new length, and prompts differ in length. On an H100 causal effects of 24 prompts took 18 s in half
# precision, where cuDNN's kernel was used, and 1.3 s in float32, where it was not. That the kernel is the cause was not
# tested.
KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@dataclass
class PassState:
    """The layout of the running pass, which attention reads.

    lead: number of prompt tokens that come first on the sequence axis, before the rows. 0 in a pass of rows alone.
    lengths: [prompts] number of tokens of each prompt, on the host. None if every prompt has `lead` tokens.
    ancestors: [lead, lead] bool, True where a token may attend; None for one prompt (causal).
    depth: [lead] position of each token in its prompt, the context included; None counts from the context's end.
    explicit: compute scores as plain products instead of the fused kernel.
    keep: how many of the first lead tokens leave their keys and values in `kept`. None keeps nothing.
    kept: {layer: (keys, values)}, each [kv_heads, keep, head_dim]. In a pass of rows alone the rows attend to `kept`.
    context: {layer: (keys, values)} of tokens that precede every lead token. All lead tokens attend to the context.
    masks: who attends to whom, by kind of token, device, window and chunk. The first block that asks makes the mask.
    calls: {layer: attention calls so far in this pass}; some classes attend twice in one layer.
    """

    lead: int
    lengths: Tensor | None = None
    ancestors: Tensor | None = None
    depth: Tensor | None = None
    explicit: bool = False
    keep: int | None = None
    kept: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    context: dict[int, tuple[Tensor, Tensor]] | None = None
    masks: dict[tuple[str, torch.device, int | None, int | None], Tensor | None] = field(default_factory=dict)
    calls: dict[int, int] = field(default_factory=dict)


_running: ContextVar[PassState | None] = ContextVar("offcourse_pass", default=None)


@contextmanager
def running(state: PassState):
    """Make `state` the pass that attention serves."""
    token = _running.set(state)
    try:
        yield
    finally:
        _running.reset(token)


def attend(
    layer: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float,
    softcap: float | None = None,
    sliding_window: int | None = None,
    chunk: int | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention of one pass at one layer.

    query: [prompts, heads, sequence, head_dim]; key and value: [prompts, kv_heads, sequence, head_dim]. chunk: tokens
    of a chunk, which attends only within itself. sinks: [heads], a score per head that takes weight and adds nothing
    (gpt-oss). Returns [prompts, sequence, heads, head_dim].
    """
    state = _running.get()
    if state is None:
        raise RuntimeError("the engine's attention was called outside of a pass: use offcourse.engine.Engine")
    lead = state.lead
    out = query.new_empty(len(query), query.shape[2], query.shape[1], value.shape[3])
    if lead:
        lead_key, lead_value = key[:, :, :lead], value[:, :, :lead]
        if state.context:
            before = [part[None].to(query.device) for part in state.context[layer]]
            lead_key, lead_value = torch.cat([before[0], lead_key], 2), torch.cat([before[1], lead_value], 2)
        out[:, :lead] = _attend_lead(
            state, query[:, :, :lead], lead_key, lead_value, scaling, softcap, sliding_window, chunk, sinks
        )
        if state.keep is not None:
            kept = key[0, :, : state.keep], value[0, :, : state.keep]
            state.kept[layer] = tuple(part.clone() for part in kept)
    if lead < query.shape[2]:
        if lead:
            prefix = key[:, :, : lead - 1], value[:, :, : lead - 1]
        else:
            prefix = tuple(part[None].to(query.device) for part in state.kept[layer])
        rows = query[:, :, lead:], key[:, :, lead:], value[:, :, lead:]
        out[:, lead:] = _attend_rows(state, *rows, *prefix, scaling, softcap, sliding_window, chunk, sinks)
    return out


def _attend_lead(state, query, key, value, scaling, softcap, sliding_window, chunk, sinks) -> Tensor:
    """Attention of prompt tokens to the context and among themselves.

    query: [prompts, heads, lead, head_dim]; key and value: [prompts, kv_heads, context + lead, head_dim]. Returns
    [prompts, lead, heads, head_dim].
    """
    length, total = query.shape[2], key.shape[2]
    allowed = _allowed(state, length, total, query.device, sliding_window, chunk)
    if softcap is None and sinks is None and not state.explicit:
        causal = allowed is None and length > 1
        if (
            query.is_cuda
            and query.shape[1] != key.shape[1]
            and not fused_takes_groups(query, key, value, allowed, causal)
        ):
            key, value = (part.repeat_interleave(query.shape[1] // part.shape[1], 1) for part in (key, value))
        grouped = query.shape[1] != key.shape[1]
        with sdpa_kernel(KERNELS):
            out = scaled_dot_product_attention(
                query, key, value, attn_mask=allowed, is_causal=causal, scale=scaling, enable_gqa=grouped
            )
        return out.transpose(1, 2)
    if allowed is None:
        allowed = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()
    group = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(group, 1) for part in (key, value))
    out = query.new_empty(len(query), length, query.shape[1], value.shape[3])
    for part in _slices(length, len(query) * query.shape[1] * total):
        scores = _capped(query[:, :, part] @ key.transpose(2, 3) * scaling, softcap)
        scores = scores.float().masked_fill_(~allowed[part], float("-inf"))
        out[:, part] = (_weights(scores, sinks).to(value.dtype) @ value).transpose(1, 2)
    return out


def _weights(scores: Tensor, sinks: Tensor | None) -> Tensor:
    """Softmax over the keys of `scores` [prompts, heads, queries, keys] float32. A head's sink takes a part of it."""
    if sinks is None:
        return torch.softmax(scores, -1)
    sink = sinks.to(scores)[:, None, None].expand(*scores.shape[:-1], 1)
    return torch.softmax(torch.cat([scores, sink], -1), -1)[..., :-1]


def fused_takes_groups(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> bool:
    """Whether torch has a fused kernel on this GPU for keys that several query heads share.

    Without such a kernel torch would fall back to plain products, whose scores take 10 GB for 4,096 tokens and 64 heads
    in float32, against 0.4 GB with the keys repeated for every head.
    """
    asked = torch.backends.cuda.SDPAParams(query, key, value, mask, 0.0, causal, True)
    return torch.backends.cuda.can_use_flash_attention(asked) or torch.backends.cuda.can_use_efficient_attention(asked)


def _slices(queries: int, scores: int) -> Iterator[slice]:
    """Slices of the queries whose scores fit into `SCORE_BYTES`. scores: number of scores of one query, all heads."""
    step = max(1, SCORE_BYTES // (BYTES_PER_SCORE * scores))
    return (slice(start, min(start + step, queries)) for start in range(0, queries, step))


def _capped(scores: Tensor, softcap: float | None) -> Tensor:
    return scores if softcap is None else scores.div_(softcap).tanh_().mul_(softcap)


def _allowed(state, length, total, device, sliding_window, chunk) -> Tensor | None:
    """[lead, context + lead] bool, who attends to whom; None for plain causal attention.

    A pass makes each mask once, since a copy from the host in every block would make the GPU wait.
    """
    key = "lead", device, sliding_window, chunk
    if key not in state.masks:
        state.masks[key] = _mask(state, length, total, device, sliding_window, chunk)
    return state.masks[key]


def _mask(state, length, total, device, sliding_window, chunk) -> Tensor | None:
    before = total - length
    windowed = sliding_window is not None and sliding_window < total
    chunked = chunk is not None and chunk < total
    if not before and not windowed and not chunked:
        return None if state.ancestors is None else on_device(state.ancestors, device)
    depth = torch.arange(before, total, device=device) if state.depth is None else on_device(state.depth, device)
    among = depth[:, None] >= depth[None, :] if state.ancestors is None else on_device(state.ancestors, device)
    allowed = torch.cat([among.new_ones(length, before), among], 1)
    # Compare, do not subtract: differences of all pairs would take eight times the mask's bytes.
    key_depth = torch.cat([torch.arange(before, device=device), depth])
    if windowed:
        allowed &= key_depth[None, :] > depth[:, None] - sliding_window
    if chunked:
        allowed &= key_depth[None, :] // chunk == depth[:, None] // chunk
    return allowed


def _before_rows(state, prefix: int, device, sliding_window, chunk) -> Tensor | None:
    """[prompts, prefix] bool, the tokens of each prompt to which its rows attend; None for all of them."""
    if state.lengths is None:
        return None
    key = "rows", device, sliding_window, chunk
    if key not in state.masks:
        places, own = torch.arange(prefix)[None], state.lengths[:, None] - 1
        allowed = places < own
        if sliding_window is not None:
            allowed &= places > own - sliding_window
        if chunk is not None:
            allowed &= places // chunk == own // chunk
        state.masks[key] = on_device(allowed, device)
    return state.masks[key]


def _attend_rows(
    state, query, key, value, prefix_key, prefix_value, scaling, softcap, sliding_window, chunk, sinks
) -> Tensor:
    """Attention of rows to the prefix and to themselves.

    query, key, value: [prompts, heads or kv_heads, rows, head_dim]. Returns [prompts, rows, heads, head_dim].
    """
    prompts, heads, rows, size = query.shape
    kv_heads, prefix = prefix_key.shape[1:3]
    allowed = _before_rows(state, prefix, query.device, sliding_window, chunk)
    if allowed is None and sliding_window is not None and sliding_window <= prefix:
        # The row itself is one token of the window.
        near = slice(prefix + 1 - sliding_window, None)
        prefix_key, prefix_value, prefix = prefix_key[:, :, near], prefix_value[:, :, near], sliding_window - 1
    if allowed is None and chunk is not None and chunk <= prefix:
        near = slice(prefix - prefix % chunk, None)
        prefix_key, prefix_value, prefix = prefix_key[:, :, near], prefix_value[:, :, near], prefix % chunk
    group = heads // kv_heads
    # Every key head of every prompt is one of the products.
    grouped = query.reshape(prompts * kv_heads, group, rows, size)
    key, value, prefix_key, prefix_value = (
        part.reshape(prompts * kv_heads, part.shape[2], part.shape[3])
        for part in (key, value, prefix_key, prefix_value)
    )
    if allowed is not None:
        hidden = ~allowed.repeat_interleave(kv_heads, 0)[:, None, None]
    out = value.new_empty(prompts, rows, heads, value.shape[2])
    for part in _slices(rows, prompts * heads * (prefix + 1)):
        count = part.stop - part.start
        mine = grouped[:, :, part]
        scores = query.new_empty(prompts * kv_heads, group, count, prefix + 1)
        # Sizes are spelled out, since a prompt of one token has an empty prefix.
        shared = mine.reshape(prompts * kv_heads, group * count, size) @ prefix_key.transpose(1, 2)
        scores[..., :prefix] = shared.view(prompts * kv_heads, group, count, prefix)
        scores[..., prefix] = (mine * key[:, None, part]).sum(-1)
        scores = _capped(scores.mul_(scaling), softcap)
        if allowed is not None:
            scores[..., :prefix].masked_fill_(hidden, float("-inf"))
        weights = _weights(scores.float().view(prompts, heads, count, -1), sinks).to(value.dtype)
        weights = weights.view(prompts * kv_heads, group, count, prefix + 1)
        found = weights[..., :prefix].reshape(prompts * kv_heads, group * count, prefix) @ prefix_value
        found = found.view(prompts * kv_heads, group, count, value.shape[2])
        found = torch.addcmul(found, weights[..., prefix:], value[:, None, part])
        out[:, part] = found.view(prompts, heads, count, value.shape[2]).transpose(1, 2)
    return out


def _interface(
    module,
    query,
    key,
    value,
    attention_mask,
    scaling=None,
    softcap=None,
    sliding_window=None,
    s_aux=None,
    **others,
) -> tuple[Tensor, None]:
    """`attend` behind the signature that `transformers` calls. The mask is ignored, since the pass has its own.

    Raises `OffcourseError` for an argument that is not known: the states would be wrong without it.
    """
    if unknown := sorted(name for name, given in others.items() if given is not None and name not in UNUSED):
        raise OffcourseError(
            f"{type(module).__name__} of transformers hands {', '.join(unknown)} to its attention, which the engine "
            "does not know. No result is made from a model of this class."
        )
    if key.shape[2] != query.shape[2]:
        raise OffcourseError(
            f"{type(module).__name__} of transformers attends to keys of another layer (num_kv_shared_layers of Gemma "
            "4), which rows of edits do not have. No result is made from a model of this class."
        )
    state = _running.get()
    layer = module.layer_idx
    if state is not None:
        calls = state.calls[layer] = state.calls.get(layer, 0) + 1
        layer = layer if calls == 1 else (layer, calls)
    near = module.offcourse_locality
    scaling = query.shape[3] ** -0.5 if scaling is None else scaling
    return attend(layer, query, key, value, scaling, softcap, near.window, near.chunk, s_aux), None


AttentionInterface.register(NAME, _interface)


def _install_product(attention: torch.nn.Module) -> None:
    """GPT-J, CodeGen and GPT-Neo call no attention function; replace the product inside this one module."""
    plain = type(attention)._attn
    layer = attention.layer_idx if hasattr(attention, "layer_idx") else attention.layer_id
    # GPT-Neo does not scale, and has a window in its local layers.
    scaling = 1 / attention.scale_attn if hasattr(attention, "scale_attn") else 1.0
    window = attention.config.window_size if getattr(attention, "attention_type", None) == "local" else None

    def product(query, key, value, attention_mask=None):
        if _running.get() is None:
            return plain(attention, query, key, value, attention_mask)
        # Scores are computed in float32 whatever the model's precision.
        out = attend(layer, query.float(), key.float(), value.float(), scaling, sliding_window=window)
        return out.transpose(1, 2).to(value.dtype), None

    attention._attn = product


def install(model: LanguageModel) -> None:
    """Make `model` call the engine's attention; `uninstalled` restores the class's own for a while."""
    if model.architecture.attention_interface:
        if model.localities is None:
            model.localities = locality.ask(model)
            for part, near in model.localities.items():
                part.offcourse_locality = near
        model.module.set_attn_implementation(NAME)
    else:
        for block in model.blocks:
            _install_product(block.get_submodule(model.architecture.attention))


@contextmanager
def uninstalled(model: LanguageModel, implementation: str = "eager"):
    """Inside the block the model runs as in `transformers`, with the class's own attention."""
    if not model.architecture.attention_interface:
        yield
        return
    model.module.set_attn_implementation(implementation)
    try:
        yield
    finally:
        model.module.set_attn_implementation(NAME)
