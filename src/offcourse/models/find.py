"""Finding the row of a class that the table of classes lacks, from the structure of its model and one forward.

A found row is a proposal: every self-check at load has to confirm it before the model makes a result.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from offcourse.data.architectures import Architecture, architecture
from offcourse.errors import OffcourseError

# Names of output projections and feed-forward outputs in the classes of `transformers`, the likeliest first.
ATTENTION_OUTPUTS = ("o_proj", "out_proj", "dense", "c_proj", "wo", "proj", "linear_attn_out")
MLP_OUTPUTS = ("down_proj", "dense_4h_to_h", "fc_out", "fc2", "c_proj", "fc_2", "w2")
FINAL_NORMS = (
    "norm",
    "final_layer_norm",
    "final_layernorm",
    "final_norm",
    "ln_f",
    "norm_f",
    "layer_norm",
    "layernorm",
    "norm_out",
)
# Entries of configurations that scale logits, and those that scale what a sub-layer adds to the stream.
LOGIT_SCALES = {
    "logit_scale": "logit_scale",
    "logits_scaling": "1/logits_scaling",
    "dim_model_base": "dim_model_base/hidden_size",
}
RESIDUAL_SCALES = {
    "residual_multiplier": "residual_multiplier",
    "scale_depth": "scale_depth/sqrt(num_hidden_layers)",
}
# The entry of configurations that says whether attention and feed-forward network run side by side.
PARALLEL_FLAG = "use_parallel_residual"
TOKENS = 5


def find_row(module: nn.Module, name: str) -> Architecture:
    """The row of `module`, a causal language model of `transformers`, by structure alone (weights may be on "meta").

    Raises `OffcourseError` that names the class and the part that was not found.
    """
    config = module.config
    blocks_at, blocks = _blocks(module)
    attention = _attention(blocks)
    if attention is None:
        raise OffcourseError(f"{type(module).__name__}: {_without_attention(blocks)}")
    if _inner(blocks[0].get_submodule(attention)):
        attention = f"{attention}.{_inner(blocks[0].get_submodule(attention))}"
    output = _output(blocks, attention, ATTENTION_OUTPUTS, config.hidden_size)
    if output is None:
        raise _lacks(module, "an attention output projection in every block")
    mlp = _mlp(blocks, attention, config.hidden_size)
    if mlp is None:
        raise _lacks(module, "a feed-forward network in every block")
    return Architecture(
        name,
        causal_lm=type(module).__name__,
        blocks=blocks_at,
        final_norm=_final_norm(module, blocks_at),
        attention=attention,
        attention_output=output,
        mlp_output=mlp,
        config_flag=PARALLEL_FLAG if hasattr(config, PARALLEL_FLAG) else None,
        logit_scale=_scale(config, LOGIT_SCALES),
        residual_scale=_scale(config, RESIDUAL_SCALES),
        attention_interface=not hasattr(blocks[0].get_submodule(attention), "_attn"),
        transposed=isinstance(blocks[0].get_submodule(output), Conv1D),
    )


def row_in(folder: Path, name: str) -> Architecture:
    """The row of the class called `name`; for a class without one, what structure tells of the model in `folder`.

    No weights are read. Raises `OffcourseError` as `find_row` and `architecture` do.
    """
    row = architecture(name)
    if not row.found:
        return row
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return replace(find_row(module, name), found=True)


@torch.inference_mode()
def complete_row(module: nn.Module, row: Architecture) -> Architecture:
    """`row` with the facts that a forward shows: tuples that blocks return, post-norms, parallel sub-layers."""
    blocks = list(module.get_submodule(row.blocks))
    middle = blocks[len(blocks) // 2]
    seen = _run(module, middle)
    parts = dict(middle.named_children())
    if seen[middle][0].shape[:-1] != (1, TOKENS):
        raise OffcourseError(
            f"{type(module).__name__}: its blocks carry states of the shape {list(seen[middle][0].shape)} for {TOKENS} "
            "tokens, where the engine edits one state per token"
        )
    outputs = {name: seen[part][1] for name, part in _outputs(middle, row) if part in seen}
    post = tuple(
        name
        for key in ("attention", "mlp")
        for name, part in parts.items()
        if _is_norm(part) and part in seen and key in outputs and _same(seen[part][0], outputs[key])
    )
    # Another attention output moves what a feed-forward network behind it reads, and nothing beside it. A post-norm
    # would undo a mere factor.
    attention = middle.get_submodule(row.attention)
    mlp = middle.get_submodule(row.mlp_output)
    moved = _run(module, middle, turned=attention)
    parallel = row.config_flag is None and mlp in seen and _same(seen[mlp][0], moved[mlp][0])
    return replace(
        row,
        tuple_output=isinstance(seen[middle][2], tuple),
        post_norms=post if len(post) == 2 else (),
        parallel=parallel,
    )


def _run(module: nn.Module, block: nn.Module, turned: nn.Module | None = None) -> dict[nn.Module, tuple]:
    """{part of a block: (first input, first output, whole output)} of one forward of a few tokens.

    turned: a part whose output is turned round along the model's width.
    """
    seen: dict[nn.Module, tuple] = {}

    def note(part, args, kwargs, out):
        first = args[0] if args else kwargs.get("hidden_states")
        seen[part] = first, out[0] if isinstance(out, tuple) else out, out

    def turn(part, args, out):
        return (out[0].flip(-1), *out[1:]) if isinstance(out, tuple) else out.flip(-1)

    device = module.get_input_embeddings().weight.device
    tokens = torch.arange(2, 2 + TOKENS, device="cpu" if device.type == "meta" else device)[None]
    with ExitStack() as stack:
        if turned is not None:
            stack.callback(turned.register_forward_hook(turn).remove)
        for part in block.modules():
            stack.callback(part.register_forward_hook(note, with_kwargs=True).remove)
        module.base_model(input_ids=tokens, use_cache=False)
    return seen


def _outputs(block: nn.Module, row: Architecture) -> Iterator[tuple[str, nn.Module]]:
    yield "attention", block.get_submodule(row.attention)
    yield "mlp", block.get_submodule(row.mlp_output)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return (
        one is not None
        and other is not None
        and one.numel() == other.numel()
        and torch.equal(one.flatten(), other.flatten())
    )


def _lacks(module: nn.Module, what: str) -> OffcourseError:
    return OffcourseError(f"{type(module).__name__}: {what} was not found")


def _is_norm(part: nn.Module) -> bool:
    return "norm" in type(part).__name__.lower()


def _blocks(module: nn.Module) -> tuple[str, list[nn.Module]]:
    count = module.config.num_hidden_layers
    lists = [
        (name, part) for name, part in module.named_modules() if isinstance(part, nn.ModuleList) and len(part) == count
    ]
    if not lists:
        raise _lacks(module, f"a list of {count} blocks")
    name, blocks = max(lists, key=lambda each: sum(p.numel() for p in each[1].parameters()))
    return name, list(blocks)


def _attention(blocks: list[nn.Module]) -> str | None:
    """Path of the first attention module that every block has."""
    parts = [dict(block.named_modules()) for block in blocks]
    for path, part in parts[0].items():
        # DBRX wraps its attention into a module with both norms.
        named = path and "attention" in type(part).__name__.lower() and not _is_norm(part)
        if named and all(type(others.get(path)) is type(part) for others in parts):
            return path
    return None


def _without_attention(blocks: list[nn.Module]) -> str:
    """Why blocks without one attention module cannot be run, which names the module that they have instead."""
    lacking = [block for block in blocks if _attention([block]) is None] or blocks
    others = [type(part).__name__ for _, part in lacking[0].named_children() if not _is_norm(part)]
    return (
        f"{len(lacking)} of {len(blocks)} blocks have no attention (but {others[0] if others else 'nothing'}). A layer "
        "that keeps a state computes tokens one after the other, so rows of edits cannot be run beside a prompt"
    )


def _inner(part: nn.Module) -> str | None:
    """The one child of a wrapper around an attention module (GPT-Neo)."""
    children = [name for name, _ in part.named_children()]
    return children[0] if children == ["attention"] else None


def _linear(part: nn.Module) -> tuple[int, int] | None:
    if isinstance(part, Conv1D):
        return part.nx, part.nf
    return (part.in_features, part.out_features) if isinstance(part, nn.Linear) else None


def _output(blocks: list[nn.Module], inside: str, names: tuple[str, ...], width: int) -> str | None:
    """Path of the projection to the residual stream's width that every block has below `inside`."""
    first = blocks[0].get_submodule(inside)
    found = [name for name, part in first.named_modules() if (sizes := _linear(part)) and sizes[1] == width]
    found = [f"{inside}.{name}" for name in found if all(_has(block, f"{inside}.{name}") for block in blocks)]
    for last in names:
        for path in found:
            if path.split(".")[-1] == last:
                return path
    return found[-1] if found else None


def _has(block: nn.Module, path: str) -> bool:
    try:
        return _linear(block.get_submodule(path)) is not None
    except AttributeError:
        return False


def _mlp(blocks: list[nn.Module], attention: str, width: int) -> str | None:
    """Path of the feed-forward network's last projection, or of the network itself where it is no plain one."""
    beside = [name for name, _ in blocks[0].named_children() if name != attention.split(".")[0]]
    direct = [name for name in beside if name in MLP_OUTPUTS and all(_has(block, name) for block in blocks)]
    if direct:
        return direct[0]
    networks = [
        name
        for name in beside
        if all(name in dict(block.named_children()) for block in blocks)
        and not _is_norm(blocks[0].get_submodule(name))
        and any(parameter.dim() > 1 for parameter in blocks[0].get_submodule(name).parameters())
    ]
    if not networks:
        return None
    name = max(networks, key=lambda each: sum(p.numel() for p in blocks[0].get_submodule(each).parameters()))
    network = blocks[0].get_submodule(name)
    if isinstance(network, nn.Sequential) and _linear(network[-1]):
        return f"{name}.{len(network) - 1}"
    plain = [dict(block.get_submodule(name).named_children()) for block in blocks]
    for last in MLP_OUTPUTS:
        if all(last in children and _linear(children[last]) for children in plain) and all(
            not any("expert" in key for key in children) for children in plain
        ):
            return f"{name}.{last}"
    return name


def _final_norm(module: nn.Module, blocks_at: str) -> str:
    above = blocks_at.rpartition(".")[0]
    norms = [name for name, part in module.get_submodule(above).named_children() if _is_norm(part)]
    found = next((name for name in FINAL_NORMS if name in norms), None)
    if found is None:
        raise _lacks(module, "a final norm beside the blocks")
    return f"{above}.{found}" if above else found


def _scale(config, known: dict[str, str]) -> str:
    return next((formula for entry, formula in known.items() if getattr(config, entry, None) is not None), "1")
