"""A row of models.tsv, filled from a model's own files: configuration, tokenizer and the list of its files.

No weights are read. Sizes and parameters are those of the class that `transformers` builds from the configuration,
without memory for weights. Facts that no file holds (training, the base model) stay empty.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from offcourse.data.architectures import architecture, causal_lms, name_of
from offcourse.data.names import PAPER
from offcourse.data.rows import Model
from offcourse.errors import OffcourseError
from offcourse.models.find import find_row
from offcourse.models.folder import check_configuration, read_json
from offcourse.models.load import LanguageModel
from offcourse.models.tokenizer import Tokenizer

HELP = "Nothing was written."


@dataclass(frozen=True)
class Origin:
    """Where a model's files are, and what is known of them beside the files.

    files: folder with config.json and the tokenizer's files. names: all files of the model. row: the cells source,
    repo, revision, licence, gated. weights: a folder or GGUF file with the weights, None on the hub.
    """

    where: str
    files: Path
    names: tuple[str, ...]
    row: Mapping[str, Any]
    weights: Path | None = None


def draft(origin: Origin, name: str = "", label: str = "") -> Model:
    """The row of a model. Raises `OffcourseError` for files that no model can be made of, and names what is wrong."""
    config_file = read_json(origin.files / "config.json", origin.where, HELP)
    known = architecture(class_in(config_file, origin.where))
    check_configuration(origin.files, known, origin.where, HELP)
    Tokenizer(origin.files, origin.where)
    if not any(file.endswith((".safetensors", ".gguf")) for file in origin.names):
        held = ", ".join(sorted(file for file in origin.names if file.endswith((".bin", ".pt", ".pth", ".h5")))[:3])
        raise OffcourseError(
            f"{origin.where} has no safetensors"
            + (f" (but {held}, from which add-model makes no row)" if held else "")
            + f". Choose a revision that has them, or convert the model into a folder. {HELP}"
        )
    config, module = _built(origin.files, origin.where)
    row = find_row(module, known.name) if known.found else known
    model = LanguageModel(module, row)
    stem = name or _name(str(origin.row["repo"]))
    label = label or stem.replace("-", " ").title()
    cells: dict[str, Any] = {
        "name": stem,
        "label": label,
        "short_label": label if len(label) <= 16 else label[:15].rstrip() + ".",
        "family": type(config).__name__.removesuffix("Config").removesuffix("Text"),
        "architecture": known.name,
        "parameters": model.parameters,
        "layers": model.layers,
        "heads": model.heads,
        "kv_heads": model.kv_heads,
        "head_dim": model.head_dim,
        "width": model.width,
        "mlp_width": model.mlp_width,
        "vocabulary": model.vocabulary,
        "tied_embeddings": bool(config.tie_word_embeddings),
        "context": model.context,
        "norm": _norm(model.norm, config),
        "position_embedding": _positions(config),
        "activation": _activation(model.blocks[0], config),
        "attention": "MQA" if model.kv_heads == 1 else "MHA" if model.kv_heads == model.heads else "GQA",
        "post_trained": "yes" if _has_template(origin.files) else "",
        "dtype": _dtype(config_file),
        "methods": tuple(PAPER),
    }
    empty = {field.name: "" for field in fields(Model)}
    return Model(**empty | cells | dict(origin.row))


def class_in(config: Mapping[str, Any], where: str) -> str:
    """Our name of the class that a configuration names.

    Raises `OffcourseError` for an encoder, an encoder-decoder, a model of images or sound, and a class that the
    installed `transformers` lacks.
    """
    named = [name for name in config.get("architectures") or [] if isinstance(name, str)]
    if not named:
        raise OffcourseError(
            f"{where}: config.json names no class (`architectures`). Save the model with save_pretrained of "
            f"transformers, which writes it. {HELP}"
        )
    for name in named:
        if causal_lms().get(name_of(name)) == name and not config.get("is_encoder_decoder"):
            return name_of(name)
    kind = "is no causal language model (a decoder with an unembedding) of the installed transformers"
    if config.get("is_encoder_decoder"):
        kind = "has an encoder and a decoder"
    elif any(part in config for part in ("vision_config", "audio_config", "text_config")):
        kind = "wraps a language model and parts for images or sound; save its text part as a model of its own"
    raise OffcourseError(f"{where} holds {', '.join(named)}, which {kind}. {HELP}")


def _built(folder: Path, where: str) -> tuple[Any, nn.Module]:
    """(configuration, model without weights) of a folder."""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        with torch.device("meta"):
            module = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        module.tie_weights()
        return config, module
    # A wrong entry of config.json can raise any error, at its first use.
    except Exception as error:
        reason = (str(error) or "no reason given").splitlines()[0]
        raise OffcourseError(
            f"{where}: transformers cannot build a model from config.json ({type(error).__name__}: {reason}). {HELP}"
        ) from error


def _name(repo: str) -> str:
    """A name of a row: the last part of a repo, path or file name, in lower case."""
    last = Path(repo).name.removesuffix(".gguf")
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-._")


def _norm(norm: nn.Module, config: Any) -> str:
    kind = "RMSNorm" if "rms" in type(norm).__name__.lower() else "LayerNorm"
    names = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps", "norm_epsilon")
    epsilon = next((value for name in names if (value := getattr(config, name, None)) is not None), None)
    return kind if epsilon is None else f"{kind} ({epsilon:.0e})"


def _positions(config: Any) -> str:
    settings = getattr(config, "rope_parameters", None)
    if not settings:
        return "RoPE" if getattr(config, "rotary_dim", None) else "learned"
    if "rope_theta" in settings:
        return f"RoPE ({_thousands(settings['rope_theta'])})"
    whole, local = (settings.get(kind) or {} for kind in ("full_attention", "sliding_attention"))
    if "rope_theta" not in whole or "rope_theta" not in local:
        return "RoPE"
    if whole["rope_theta"] == local["rope_theta"]:
        return f"RoPE ({_thousands(whole['rope_theta'])})"
    return f"RoPE ({_thousands(whole['rope_theta'])}; {_thousands(local['rope_theta'])} in sliding-window layers)"


def _thousands(theta: float) -> str:
    return f"{theta / 1000:,g}k"


def _activation(block: nn.Module, config: Any) -> str:
    names = ("hidden_activation", "hidden_act", "activation_function")
    plain = next((value for name in names if (value := getattr(config, name, None))), "")
    gated = any(
        "gate_proj" in name or "gate_up" in name for name, _ in (*block.named_modules(), *block.named_parameters())
    )
    return {"silu": "SwiGLU", "gelu": "GeGLU", "gelu_pytorch_tanh": "GeGLU"}.get(plain, plain) if gated else plain


def _has_template(folder: Path) -> bool:
    """Whether the tokenizer has a template of a chat, which models trained to follow instructions have."""
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return bool(settings.get("chat_template")) or (folder / "chat_template.jinja").is_file()


def _dtype(config: Mapping[str, Any]) -> str:
    stated = str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")
    return stated if stated in ("bfloat16", "float16") else "float32"
