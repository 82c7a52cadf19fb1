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

from offcourse.data.architectures import Architecture, architecture, causal_lms, name_of, path_of
from offcourse.data.names import PAPER
from offcourse.data.rows import Model
from offcourse.errors import OffcourseError
from offcourse.models.bins import pickled
from offcourse.models.find import find_row
from offcourse.models.find_plain import find_plain_row
from offcourse.models.folder import check_configuration, read_json, refuse_adapter
from offcourse.models.load import LanguageModel
from offcourse.models.plain import PlainModel
from offcourse.models.tokenizer import Tokenizer

HELP = "Nothing was written."
# Endings of files of weights that cannot be read from a folder or repository.
OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".gguf", ".msgpack", ".h5", ".onnx")


@dataclass(frozen=True)
class Origin:
    """Where a model's files are, and what is known of them beside the files.

    files: folder with config.json and the tokenizer's files. names: all files of the model. row: the cells source,
    repo, revision, licence, gated. weights: the folder with the weights, None on the hub.
    """

    where: str
    files: Path
    names: tuple[str, ...]
    row: Mapping[str, Any]
    weights: Path | None = None


def draft(origin: Origin, name: str = "", label: str = "") -> Model:
    """The row of a model. Raises `OffcourseError` for files that no model can be made of, and names what is wrong."""
    refuse_adapter(origin.files, origin.where)
    _require_weights(origin)
    config_file = read_json(origin.files / "config.json", origin.where, HELP)
    known = architecture(class_in(config_file, origin.where))
    check_configuration(origin.files, known, origin.where, HELP)
    Tokenizer(origin.files, origin.where)
    config, module = _built(origin.files, origin.where)
    if type(config) is not type(module).config_class or type(module).__name__ != known.causal_lm:
        raise OffcourseError(
            f"{origin.where}: model_type in config.json is {config.model_type!r}, which is not the one of "
            f"{known.causal_lm}. Correct config.json. {HELP}"
        )
    try:
        model = _model(module, known)
    except OffcourseError as error:
        raise OffcourseError(
            f"{origin.where} holds a class without a row in docs/classes.md, and its structure shows no decoder that "
            f"Offcourse can run: {error}. {HELP}"
        ) from error
    stem = name or name_from(str(origin.row["repo"]))
    label = label or stem.replace("-", " ").title()
    cells: dict[str, Any] = {
        "name": stem,
        "label": label,
        "short_label": label if len(label) <= 16 else label[:15].rstrip() + ".",
        "family": type(config).__name__.removesuffix("Config").removesuffix("Text"),
        "architecture": known.name,
        "parameters": model.parameters,
        "layers": model.layers,
        # A class with blocks without heads leaves these cells empty.
        "heads": model.heads or None,
        "kv_heads": model.kv_heads or None,
        "head_dim": model.head_dim or None,
        "width": model.width,
        "mlp_width": model.mlp_width or None,
        "vocabulary": model.vocabulary,
        "tied_embeddings": bool(config.tie_word_embeddings),
        "context": model.context,
        "norm": _norm(model.norm, config),
        "position_embedding": _positions(config),
        "activation": _activation(model.blocks[0], config),
        "attention": "none"
        if not model.heads
        else "MQA"
        if model.kv_heads == 1
        else "MHA"
        if model.kv_heads == model.heads
        else "GQA",
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
    wraps = any(part in config for part in ("vision_config", "audio_config", "text_config"))
    for name in named:
        # transformers lists some wrappers as causal language models too.
        if causal_lms().get(name_of(name)) == name and not config.get("is_encoder_decoder") and not wraps:
            return name_of(name)
    kind = (
        "is no causal language model (a decoder with an unembedding) of the installed transformers; docs/classes.md "
        "lists the classes that run"
    )
    if wraps:
        kind = (
            "wraps a language model and parts for images or sound; save its text part as a model of its own, with "
            "save_pretrained of transformers"
        )
    elif config.get("is_encoder_decoder") or any("ConditionalGeneration" in name for name in named):
        kind = "has an encoder and a decoder; only decoders run"
    raise OffcourseError(f"{where} holds {', '.join(named)}, which {kind}. {HELP}")


def _model(module: nn.Module, known: Architecture) -> LanguageModel:
    """The model on the path of its class. A class of no table that has no row takes the plain path."""
    if path_of(known.name) == "plain":
        return PlainModel(module, known)
    try:
        return LanguageModel(module, find_row(module, known.name) if known.found else known)
    except OffcourseError:
        if not known.found:
            raise
    return PlainModel(module, find_plain_row(module, known.name))


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


def _require_weights(origin: Origin) -> None:
    """Raise `OffcourseError` unless the files of a model include weights that can be read."""
    if any("/" not in name and name.endswith(".safetensors") for name in origin.names) or pickled(origin.names):
        return
    others = sorted(name for name in origin.names if name.endswith(OTHER_WEIGHTS))
    advice = "Choose a revision that has them (--revision), or save the model with save_pretrained of transformers."
    if ggufs := [name for name in others if name.endswith(".gguf")]:
        advice = f"Give the GGUF file itself: offcourse add-model {Path(ggufs[0]).name}, where the file is."
    raise OffcourseError(
        f"{origin.where} has no weights that can be read: neither safetensors nor pytorch_model.bin "
        f"({', '.join(others[:3]) or 'no file of weights'}). {advice} {HELP}"
    )


def name_from(where: str) -> str:
    """The name of a row of FOLDER, FILE.gguf or REPO: its last part in lower case."""
    last = Path(where).name.removesuffix(".gguf")
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
