"""Loading a model, and one small interface to it that is the same for every class, device map and dtype."""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate.utils import get_balanced_memory, get_max_memory, infer_auto_device_map
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.pytorch_utils import Conv1D

from offcourse.data.architectures import Architecture
from offcourse.data.architectures import architecture as row_of
from offcourse.errors import OffcourseError
from offcourse.models.find import complete_row, find_row
from offcourse.models.folder import AT_ITS_SOURCE, UNDAMAGED, check_folder
from offcourse.models.loading_report import refuse_not_finite, refuse_unlike
from offcourse.models.memory import keep_freed_memory

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class LanguageModel:
    """A causal language model and where its parts are.

    module: the `transformers` model, in evaluation mode.
    architecture: its row of the table of classes.
    """

    module: nn.Module
    architecture: Architecture

    def __post_init__(self):
        config = self.module.config
        self.blocks = list(self.module.get_submodule(self.architecture.blocks))
        self.projections = [block.get_submodule(self.architecture.attention_output) for block in self.blocks]
        self.norm = self.module.get_submodule(self.architecture.final_norm)
        self.head = self.module.get_output_embeddings()
        self.layers = len(self.blocks)
        self.heads = config.num_attention_heads
        self.kv_heads = getattr(config, "num_key_value_heads", None) or self.heads
        inputs = [features(projection)[0] for projection in self.projections]
        self.width = features(self.projections[0])[1]
        self.head_dim = max(inputs) // self.heads
        self.mlp_width = _mlp_width(self.blocks[0].get_submodule(self.architecture.mlp_output), config)
        self.vocabulary = self.head.out_features
        self.final_softcap = getattr(config, "final_logit_softcapping", None)
        self.context = getattr(config, "max_position_embeddings", None)
        self.logit_scale = self.architecture.scale_of_logits(config)
        self.residual_scale = self.architecture.scale_of_residuals(config)
        # How far back each layer attends (`engine.locality`), filled in by the engine.
        self.localities: dict | None = None

    def normed(self, states: Tensor) -> Tensor:
        """Residual-stream states as the unembedding reads them: after the final norm, and scaled as the logits are."""
        return self.scaled(self.norm(states))

    def scaled(self, states: Tensor) -> Tensor:
        """States times the factor of the logits, for classes that scale their logits."""
        return states if self.logit_scale == 1 else states * self.logit_scale

    @property
    def parameters(self) -> int:
        """Number of parameters; parameters that are used twice (tied embeddings) count once."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def tied(self) -> bool:
        """Whether the unembedding shares its weights with the embedding."""
        weight, embedding = self.head.weight, self.module.get_input_embeddings().weight
        # Offloaded weights are placeholders, which are not shared.
        return self.module.config.tie_word_embeddings if weight.is_meta else weight is embedding

    @property
    def input_device(self) -> torch.device:
        """Device for token ids, from which accelerate moves tensors on (the CPU if the embedding is offloaded)."""
        device = self.module.get_input_embeddings().weight.device
        return torch.device("cpu") if device.type == "meta" else device

    @property
    def head_device(self) -> torch.device:
        """Device on which final-normed states are unembedded."""
        device = self.head.weight.device
        return torch.device("cpu") if device.type == "meta" else device

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Run the decoder without the unembedding; returns final-normed states, [prompts, sequence, width].

        tokens, positions: [prompts, sequence] each. Rows that join on the way lengthen the returned sequence.
        """
        states = []

        def capture(module, args, out):
            # Rows may have joined the sequence. Some classes restore the shape of their input after the final norm, so
            # they are given a tensor of the input's length.
            states.append(self.scaled(out))
            return out[:, : tokens.shape[1]]

        device = self.input_device
        handle = self.norm.register_forward_hook(capture)
        try:
            self.module.base_model(input_ids=tokens.to(device), position_ids=positions.to(device), use_cache=False)
        finally:
            handle.remove()
        # NanoChat's norm also runs before the first block.
        return states[-1]

    @contextmanager
    def skipping_blocks(self, before: int):
        """Let the blocks below `before` return their input untouched (and leave offloaded weights where they are)."""
        skipped = self.blocks[:before]
        originals = [block.__dict__.get("forward") for block in skipped]
        wrap = (lambda hidden: (hidden, None)) if self.architecture.tuple_output else (lambda hidden: hidden)
        for block in skipped:
            block.forward = lambda hidden, *args, **kwargs: wrap(hidden)
        try:
            yield
        finally:
            for block, original in zip(skipped, originals, strict=True):
                if original is None:
                    del block.forward
                else:
                    block.forward = original


def features(projection: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a linear module or of GPT-2's Conv1D."""
    if isinstance(projection, Conv1D):
        return projection.nx, projection.nf
    return projection.in_features, projection.out_features


def _mlp_width(output: nn.Module, config) -> int:
    """Width of the feed-forward network; of one expert in a mixture of experts."""
    if isinstance(output, nn.Linear | Conv1D):
        return features(output)[0]
    names = ("moe_intermediate_size", "intermediate_size", "ffn_hidden_size")
    widths = (getattr(part, name, None) for part in (config, getattr(config, "ffn_config", None)) for name in names)
    return next(filter(None, widths))


def load(
    folder: Path,
    architecture: str,
    dtype: str,
    offload: bool = False,
    max_memory: Mapping[int | str, int] | None = None,
) -> LanguageModel:
    """Load a prepared model folder (`offcourse.models.fetch`).

    architecture: the registry's class, which must be the one that the folder's configuration names.
    dtype: "float32", "bfloat16" or "float16".
    offload: whether weights that fit no GPU may stay in the machine's memory or on its disk.
    max_memory: {device: bytes for weights}, as accelerate takes it; None for the free memory.
    accelerate spreads the model over all GPUs. Without a GPU the model stays on the CPU, and from then on the process
    keeps freed memory (`models.memory`).

    Raises `OffcourseError` when the folder holds another class, code of its own, weights that cannot be read, or are
    not exactly those of its configuration (`models.folder`, `models.loading_report`), or more of them than the GPUs
    have room for. Nothing is asked of a network or a terminal, and no code that comes with a model is run.
    """
    row = row_of(architecture)
    tensors = check_folder(folder, row)
    on_cards = bool(max_memory) or torch.cuda.is_available()
    module, report, device_map = _loaded(
        folder, row, dtype, lambda config: _places(folder, config, dtype, offload, max_memory) if on_cards else None
    )
    refuse_unlike(module, tensors, report, folder)
    if device_map is None:
        # Weights come as a map of the file, which a busy system may page out between passes: keep them in memory.
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()
        keep_freed_memory()
    refuse_not_finite(module, folder)
    module.eval()
    if row.found:
        row = replace(complete_row(module, find_row(module, row.name)), found=True)
    try:
        return LanguageModel(module, row)
    except AttributeError as error:
        raise OffcourseError(
            f"{folder}: the row of {row.causal_lm} in the table of classes does not fit this model ({error}). A "
            "setting of its config.json makes the class leave out a part that the row names."
        ) from error


def _loaded(
    folder: Path, row: Architecture, dtype: str, places: Callable[[Any], dict[str, Any] | None]
) -> tuple[nn.Module, dict, dict[str, Any] | None]:
    """(module that `transformers` loads, its loading report, device map from `places`)."""
    # Without an explicit trust_remote_code, transformers would ask on the terminal.
    alone = dict(trust_remote_code=False, local_files_only=True)
    try:
        config = AutoConfig.from_pretrained(folder, **alone)
        if type(config) is not getattr(transformers, row.causal_lm).config_class:
            raise OffcourseError(
                f"{folder}: model_type in config.json is {config.model_type!r}, which is not the one of "
                f"{row.causal_lm}. {AT_ITS_SOURCE}"
            )
        _check_rope(folder, getattr(config, "rope_parameters", None))
        # "eager" is the one attention that every class has; the engine later replaces it by its own.
        device_map = places(config)
        module, report = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=DTYPES[dtype],
            device_map=device_map,
            attn_implementation="eager",
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **alone,
        )
        return module, report, device_map
    except OffcourseError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OffcourseError(
            f"{folder} does not fit the memory of this machine in {dtype} ({type(error).__name__}). Use a "
            "machine with more memory or larger GPUs (`offcourse plan` says how much is needed), or a numerics.dtype "
            "of fewer bytes."
        ) from error
    # A wrong entry of config.json or a wrong tensor can raise any error, at its first use.
    except Exception as error:
        reason = (str(error) or "no reason given").splitlines()[0]
        raise OffcourseError(
            f"{folder} cannot be loaded as {row.causal_lm} ({type(error).__name__}: {reason}). An entry of its "
            "config.json or its weights are damaged, or this version of transformers does not know them. "
            f"{UNDAMAGED}"
        ) from error


def _check_rope(folder: Path, settings: object) -> None:
    """Raise `OffcourseError` for a kind of rotary positions that `transformers` does not have.

    settings: `rope_parameters` of a configuration; with several kinds of layers, one entry per kind.
    """
    if not isinstance(settings, dict):
        return
    for part in settings.values():
        _check_rope(folder, part)
    kind = settings.get("rope_type", settings.get("type", "default"))
    if kind not in {"default", *ROPE_INIT_FUNCTIONS}:
        raise OffcourseError(
            f"{folder}: config.json asks for rotary positions of the type {kind!r}; transformers knows "
            f"{', '.join(sorted({'default', *ROPE_INIT_FUNCTIONS}))}. The entry is rope_scaling or rope_parameters. "
            f"{AT_ITS_SOURCE}"
        )


def _places(
    folder: Path, config: Any, dtype: str, offload: bool, max_memory: Mapping[int | str, int] | None
) -> dict[str, Any]:
    """accelerate's device map {part: device}, made before any weight is read.

    Raises `OffcourseError` with the model's size when a part would go to memory or disk and `offload` is False.
    """
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config, dtype=DTYPES[dtype], trust_remote_code=False)
    module.tie_weights()
    room = get_max_memory(dict(max_memory) if max_memory else None)
    kept = {"dtype": DTYPES[dtype], "no_split_module_classes": module._no_split_modules}
    balanced = get_balanced_memory(module, room, **kept)
    places = infer_auto_device_map(module, balanced, **kept)
    elsewhere = {"cpu", "disk"} & set(map(str, places.values()))
    if elsewhere and not offload:
        size = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
        cards = [amount for device, amount in room.items() if device != "cpu"]
        listed = ", ".join(f"{amount / 1e9:.3g} GB" for amount in cards)
        raise OffcourseError(
            f"{folder.name} does not fit: {size / 1e9:.3g} GB of weights in {dtype}, and room for {listed} on "
            f"{len(cards)} GPU{'s' * (len(cards) != 1)}. Give the job more or larger cards (`offcourse plan` says how "
            "many), choose a smaller numerics.dtype, or set `numerics: {offload: allow}`, which keeps the rest in "
            "memory or on disk and takes many times as long."
        )
    return places
