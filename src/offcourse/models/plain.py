"""Models of the plain path: classes whose edits are computed by whole forwards, without rows (docs/engine.md).

A block of such a class has a mixer (attention, or a layer that keeps a state) and mostly a feed-forward network. Paths
of a row may name several parts: "self_attn|mamba" is the first one that a block has, "shared_mlp+block_sparse_moe" is
the sum of those that a block has.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from offcourse.data.architectures import Architecture
from offcourse.data.architectures import architecture as row_of
from offcourse.errors import OffcourseError
from offcourse.models import load as loading
from offcourse.models.find_plain import find_plain_row
from offcourse.models.folder import check_folder
from offcourse.models.load import LanguageModel, features
from offcourse.models.loading_report import refuse_not_finite, refuse_unlike
from offcourse.models.memory import keep_freed_memory


class PlainModel(LanguageModel):
    """A causal language model that runs as `transformers` has it.

    projections: attention output projections, one per block; none if a block has no attention heads, and `heads`,
        `kv_heads` and `head_dim` are then 0.
    mixers: the module of each block whose output is added to the residual stream first.
    networks: the modules of each block whose outputs, summed, are added second; none in a block without them.
    """

    def __post_init__(self):
        row, config = self.architecture, self.module.config
        self.blocks = list(self.module.get_submodule(row.blocks))
        self.norm = self.module.get_submodule(row.final_norm)
        self.head = self.module.get_output_embeddings()
        self.layers = len(self.blocks)
        self.vocabulary, self.width = self.head.out_features, self.head.in_features
        self.projections = (
            [block.get_submodule(row.attention_output) for block in self.blocks] if row.attention_output else []
        )
        self.mixers = self.projections or [parts_of(block, row.attention)[0] for block in self.blocks]
        self.networks = [parts_of(block, row.mlp_output) for block in self.blocks]
        self.heads = config.num_attention_heads if self.projections else 0
        self.kv_heads = _key_heads(self.blocks[0], row, config) if self.projections else 0
        inputs = [features(projection)[0] for projection in self.projections]
        self.head_dim = max(inputs) // self.heads if self.projections else 0
        self.mlp_width = _network_width(self.networks[0], config)
        self.final_softcap = getattr(config, "final_logit_softcapping", None)
        self.context = getattr(config, "max_position_embeddings", None)
        self.logit_scale = row.scale_of_logits(config)
        self.residual_scale = row.scale_of_residuals(config)
        self.localities = None

    def scaled(self, states: Tensor) -> Tensor:
        """States times the factor of the logits, in the precision of the unembedding (Mamba's stream is float32)."""
        return super().scaled(states).to(self.head.weight.dtype)

    def forward(self, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
        """Run the decoder without the unembedding; final-normed states [prompts, sequence, width].

        tokens: [prompts, sequence] prompts of one length, so that no layer sees what fills a shorter prompt.
        positions: not used, since prompts begin at the first position.
        """
        states: list[Tensor] = []
        handle = self.norm.register_forward_hook(lambda module, args, out: states.append(self.scaled(out)))
        try:
            self.module.base_model(input_ids=tokens.to(self.input_device), use_cache=False)
        finally:
            handle.remove()
        return states[-1].view(*tokens.shape, -1)


def parts_of(block: nn.Module, path: str) -> list[nn.Module]:
    """The modules of a block that a path with alternatives ("a|b") or a sum ("a+b") names; none for an empty path."""
    if not path:
        return []
    named = [name for name in path.replace("+", "|").split("|") if _has(block, name)]
    return [block.get_submodule(name) for name in (named if "+" in path else named[:1])]


def _has(block: nn.Module, name: str) -> bool:
    try:
        return isinstance(block.get_submodule(name), nn.Module)
    # A part that a block is built without is None there.
    except AttributeError:
        return False


def _key_heads(block: nn.Module, row: Architecture, config) -> int:
    """Heads of keys and values. Falcon's number is in its attention, where it follows from two switches."""
    stated = getattr(config, "num_key_value_heads", None)
    return stated or getattr(block.get_submodule(row.attention), "num_kv_heads", None) or config.num_attention_heads


def _network_width(networks: list[nn.Module], config) -> int:
    """Width of the feed-forward network as the configuration states it; of one expert in a mixture of experts."""
    plain = [part for part in networks if isinstance(part, nn.Linear)]
    if plain:
        return features(plain[0])[0]
    if not networks:
        return 0
    names = ("moe_intermediate_size", "intermediate_size", "ffn_hidden_size")
    return next((width for name in names if (width := getattr(config, name, None))), 0)


def load_plain(
    folder: Path,
    architecture: str,
    dtype: str,
    offload: bool = False,
    max_memory: Mapping[int | str, int] | None = None,
) -> PlainModel:
    """Load a prepared model folder for the plain path; arguments and errors are those of `models.load.load`."""
    row = row_of(architecture)
    tensors = check_folder(folder, row)
    on_cards = bool(max_memory) or torch.cuda.is_available()

    def places(config):
        return loading._places(folder, config, dtype, offload, max_memory) if on_cards else None

    # The steps of `load` are repeated here: a change there would make every result of the other classes stale.
    module, report, device_map = loading._loaded(folder, row, dtype, places)
    refuse_unlike(module, tensors, report, folder)
    if device_map is None:
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()
        keep_freed_memory()
    refuse_not_finite(module, folder)
    module.eval()
    return plain_model(module, find_plain_row(module, row.name) if row.found else row, folder)


def plain_model(module: nn.Module, row: Architecture, folder: Path | str) -> PlainModel:
    """`module` with its row. Raises `OffcourseError` for a module that lacks a part of the row."""
    try:
        return PlainModel(module, row)
    except (AttributeError, IndexError) as error:
        raise OffcourseError(
            f"{folder}: the row of {row.causal_lm} in the table of classes does not fit this model ({error}). A "
            "setting of its config.json makes the class leave out a part that the row names."
        ) from error
