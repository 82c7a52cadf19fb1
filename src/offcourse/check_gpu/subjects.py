"""Random models with the real widths of the paper's models, with few blocks or with all of them (subjects).

Each is built from one row of models.tsv; nothing is downloaded. The table is read with the standard library alone,
since an image for GPUs has no pandera.
"""

import csv
from dataclasses import MISSING, dataclass, fields, replace

import torch
import transformers
from transformers import AutoConfig

from offcourse.data.architectures import MODEL_TYPES, architecture
from offcourse.data.names import RESOURCES
from offcourse.data.rows import Model
from offcourse.errors import OffcourseError
from offcourse.models.load import DTYPES, LanguageModel

# {model: number of blocks that are kept}, one model per class, the widest that fits. The largest takes about 16 GB in
# float32.
WIDTHS = {
    "gpt-j-6b": 4,
    "pythia-6.9b": 4,
    "llama-3-70b": 2,
    "mistral-7b-v0.1": 4,
    "gemma-2-27b": 4,
    "gemma-3-270m": 6,
    "qwen2-72b": 2,
    "olmo-7b-0724": 4,
    "olmo-2-13b": 4,
}
WHOLE = "llama-3.1-8b"
# Length of the sliding windows, shorter than the prompts of the check, so that the prompts cross them.
WINDOW = 24
# Sizes of narrow models, for a CPU.
NARROW = dict(width=32, mlp_width=64, heads=4, head_dim=8, vocabulary=256, context=512)


@dataclass(frozen=True)
class Subject:
    """A random model: the row of models.tsv that gives its shape, its number of blocks, and a name for the report."""

    row: Model
    name: str


def subjects(tiny: bool) -> list[Subject]:
    """One model per class, with few blocks."""
    return [_subject(name, layers, tiny) for name, layers in WIDTHS.items()]


def whole(tiny: bool) -> Subject:
    """A model with all its blocks (tiny: with eight narrow blocks)."""
    return _subject(WHOLE, 8 if tiny else None, tiny)


def _subject(name: str, layers: int | None, tiny: bool) -> Subject:
    row = _rows()[name]
    kept = layers or row.layers
    row = replace(row, layers=kept)
    if tiny:
        groups = row.heads // row.kv_heads
        row = replace(row, **NARROW, kv_heads=max(1, NARROW["heads"] // groups))
    return Subject(row, f"{row.name}, {kept} blocks" + (", narrow" if tiny else ""))


def _rows() -> dict[str, Model]:
    path = RESOURCES / "models.tsv"
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    kinds = {field.name: field for field in fields(Model)}
    found = {}
    for line in lines:
        cells = {name: _cell(line.get(name), field) for name, field in kinds.items()}
        found[line["name"]] = Model(**cells)
    if missing := {*WIDTHS, WHOLE} - found.keys():
        raise OffcourseError(f"{path} lacks {', '.join(sorted(missing))}, which the check of a GPU builds models like.")
    return found


def _cell(text: str | None, field):
    if field.type in (int | None, "int | None"):
        return int(text) if text else None
    if field.type in (bool, "bool"):
        return text == "yes"
    if text is None:
        return field.default if field.default is not MISSING else ""
    return text


def configuration(row: Model):
    """The `transformers` configuration of a row's shape."""
    common = dict(vocab_size=row.vocabulary, bos_token_id=0, eos_token_id=1, tie_word_embeddings=row.tied_embeddings)
    if row.architecture == "GPTJ":
        shape = dict(
            n_embd=row.width,
            n_layer=row.layers,
            n_head=row.heads,
            n_inner=row.mlp_width,
            n_positions=row.context,
            rotary_dim=row.head_dim // 4,
        )
        return AutoConfig.for_model("gptj", **common, **shape)
    shape = dict(
        hidden_size=row.width,
        intermediate_size=row.mlp_width,
        num_hidden_layers=row.layers,
        num_attention_heads=row.heads,
        num_key_value_heads=row.kv_heads,
        max_position_embeddings=min(row.context, 8192),
    )
    if row.architecture in ("Mistral", "Gemma2", "Gemma3"):
        shape |= dict(head_dim=row.head_dim, sliding_window=WINDOW)
    if row.architecture == "GPTNeoX":
        shape |= dict(use_parallel_residual=True, attention_bias=True)
        shape.pop("num_key_value_heads")
    if row.architecture == "Gemma3":
        shape["layer_types"] = (["sliding_attention"] * 5 + ["full_attention"]) * (row.layers // 6 + 1)
        shape["layer_types"] = shape["layer_types"][: row.layers]
    return AutoConfig.for_model(MODEL_TYPES.get(row.architecture, row.architecture.lower()), **common, **shape)


@torch.inference_mode(False)
def build(row: Model, dtype: str, device: str, seed: int = 0) -> LanguageModel:
    """A random model of a row's shape on the device; the same weights for the same seed and precision."""
    known = architecture(row.architecture)
    with torch.device(device):
        module = getattr(transformers, known.causal_lm)._from_config(
            configuration(row), dtype=DTYPES[dtype], attn_implementation="eager"
        )
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(module.named_parameters()):
            if parameter.dim() == 1:
                # Move norms and biases away from 1 and 0, at which a forgotten one would go unnoticed.
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.2, generator=generator))
            else:
                # Fan-in scaling; the unembedding gets three times as much, so that logits spread like a trained
                # model's.
                scale = 3.0 if parameter.shape[0] == row.vocabulary else 1.0
                parameter.normal_(0, scale * parameter.shape[1] ** -0.5, generator=generator)
    return LanguageModel(module.eval(), known)


def prompt(row: Model, tokens: int, seed: int = 0) -> list[int]:
    """A BOS and random token ids, `tokens` ids in all."""
    generator = torch.Generator().manual_seed(seed)
    return [0, *torch.randint(2, row.vocabulary, (tokens - 1,), generator=generator).tolist()]
