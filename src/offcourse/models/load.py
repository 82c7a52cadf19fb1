"""A loaded model behind one small interface, whatever its class, device map or dtype."""

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from offcourse.data.architectures import ARCHITECTURES, Architecture
from offcourse.errors import OffcourseError
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
        self.head_dim = self.projections[0].in_features // self.heads
        self.width = self.projections[0].out_features
        self.mlp_width = self.blocks[0].get_submodule(self.architecture.mlp_output).in_features
        self.vocabulary = self.head.out_features
        self.final_softcap = getattr(config, "final_logit_softcapping", None)
        self.context = config.max_position_embeddings

    @property
    def parameters(self) -> int:
        """Number of parameters; those that are used twice (tied embeddings) count once."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def input_device(self) -> torch.device:
        """Where token ids go; accelerate moves everything on from there (an offloaded embedding takes the CPU's)."""
        device = self.module.get_input_embeddings().weight.device
        return torch.device("cpu") if device.type == "meta" else device

    @property
    def head_device(self) -> torch.device:
        """Where final-normed states go to be unembedded."""
        device = self.head.weight.device
        return torch.device("cpu") if device.type == "meta" else device

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Run the decoder without the unembedding on one sequence axis: [1, sequence, width], final-normed."""
        states = []

        def capture(module, args, out):
            # The sequence may have grown on the way (rows join it); classes that restore the shape of their input after
            # the final norm are given one that fits.
            states.append(out)
            return out[:, : len(tokens)]

        device = self.input_device
        handle = self.norm.register_forward_hook(capture)
        try:
            self.module.base_model(
                input_ids=tokens[None].to(device), position_ids=positions[None].to(device), use_cache=False
            )
        finally:
            handle.remove()
        return states[0]

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


def load(folder: Path, architecture: str, dtype: str) -> LanguageModel:
    """Load a prepared model folder (`offcourse.models.fetch`).

    architecture: the registry's class, which must be the one that the folder's configuration names.
    dtype: "float32", "bfloat16" or "float16".
    accelerate spreads the model over the GPUs there are. Without a GPU the model stays on the CPU, and the process
    keeps freed memory from then on (`models.memory`).

    Raises `OffcourseError` when the folder holds another class, or weights that cannot be read.
    """
    row = ARCHITECTURES[architecture]
    named = json.loads((folder / "config.json").read_text())["architectures"]
    if row.causal_lm not in named:
        raise OffcourseError(
            f"{folder} holds {', '.join(named)}, but resources/models.tsv says {architecture}. Correct the "
            "`architecture` column; the known ones are in src/offcourse/data/architectures.py."
        )
    device_map = "auto" if torch.cuda.is_available() else None
    try:
        # The one attention that every class has; the engine puts its own in its place.
        module = AutoModelForCausalLM.from_pretrained(
            folder, dtype=DTYPES[dtype], device_map=device_map, attn_implementation="eager"
        )
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise OffcourseError(
            f"the weights in {folder} cannot be read ({reason}). Delete the folder and run again: it is prepared anew."
        ) from error
    if device_map is None:
        # Weights come as a map of the file, which a busy system may page out between passes: keep them in memory.
        for parameter in module.parameters():
            parameter.data = parameter.data.clone()
        keep_freed_memory()
    return LanguageModel(module.eval(), row)
