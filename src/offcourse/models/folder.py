"""Checks of a model folder from its JSON files and the headers of its safetensors, without reading weights.

`transformers` would fill some damaged folders with random weights, ask questions on the terminal, or run code that
comes with the model. Such folders are refused here with one message.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offcourse.data.architectures import Architecture
from offcourse.errors import OffcourseError
from offcourse.models.headers import SINGLE, Tensor, headers

UNDAMAGED = (
    "Use an undamaged copy of the model; a copy that Offcourse prepared is made again when its folder is deleted."
)
# A prepared folder is compared with its manifest, so that an edit in it is undone and never read.
AT_ITS_SOURCE = (
    "Correct the model's own files, from which the prepared folder is made again: those of a `local` model in the "
    "folder that `repo` of resources/models.tsv names, those of another model in a copy that becomes a `local` model."
)
# JSON files that transformers reads beside the weights, when they are there.
READ_AS_WELL = ("tokenizer_config.json", "generation_config.json", "special_tokens_map.json", "added_tokens.json")
# Files that mark quantised weights, whose stored numbers are not the weights.
QUANTISED = {"quantize_config.json": "GPTQ", "quant_config.json": "AWQ"}
# Sizes under the names that configurations give them; those in OPTIONAL may be null.
SIZES = {
    "layers": ("num_hidden_layers", "n_layer"),
    "heads": ("num_attention_heads", "n_head"),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "width": ("hidden_size", "n_embd"),
    # Of one expert in a mixture of experts, some of which state a width that no layer has as well.
    "mlp_width": ("moe_intermediate_size", "intermediate_size", "n_inner"),
    "vocabulary": ("vocab_size",),
    "context": ("max_position_embeddings", "n_positions"),
}
OPTIONAL = ("kv_heads", "head_dim", "mlp_width")


def check_folder(folder: Path, row: Architecture, where: str = "", repair: str = "") -> Mapping[str, Tensor]:
    """{name: header} of the tensors in a model folder of class `row`. Raises `OffcourseError` for any other folder.

    where: how messages name the folder. repair: what to do about a damaged file of the folder.
    """
    where = where or str(folder)
    repair = repair or f"Delete {folder} and run again: it is prepared anew."
    sizes = check_configuration(folder, row, where, repair)
    tensors = headers(folder, where, repair)
    # The names of a class without a row are compared with the loaded model (`models.loading_report`).
    if not row.found:
        _check_names(tensors, row, sizes, where)
    _check_sizes(tensors, sizes, where)
    return tensors


def read_json(path: Path, where: str, repair: str) -> dict[str, Any]:
    """The object in a JSON file. Raises `OffcourseError` if there is no file, or if it is cut or holds no object."""
    if not path.is_file():
        raise OffcourseError(f"{where} has no {path.name} that is a file. {repair}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise OffcourseError(f"{where}: {path.name} is not JSON ({error}); it may be cut. {repair}") from error
    if not isinstance(found, dict):
        raise OffcourseError(f"{where}: {path.name} holds a {type(found).__name__} instead of a JSON object. {repair}")
    return found


def check_configuration(folder: Path, row: Architecture, where: str, repair: str) -> dict[str, int | None]:
    """Check the JSON files of a folder of class `row`; returns the sizes (`SIZES`) that config.json states.

    Raises `OffcourseError` for anything else: another class, quantised weights, an adapter, code of its own, a size
    that is no positive whole number.
    """
    refuse_adapter(folder, where)
    config = read_json(folder / "config.json", where, repair)
    others = {name: read_json(folder / name, where, repair) for name in READ_AS_WELL if (folder / name).exists()}
    for name, found in {"config.json": config, **others}.items():
        if found.get("auto_map"):
            raise OffcourseError(
                f"{where}: {name} has auto_map: the model asks for code of its own. Offcourse never runs code that "
                "comes with a model (trust_remote_code=False everywhere). Use a version of the model for the class of "
                f"transformers ({row.causal_lm}), whose files have no auto_map."
            )
    _check_plain(folder, config, where)
    named = config.get("architectures")
    if not isinstance(named, list) or not named or not all(isinstance(name, str) for name in named):
        raise OffcourseError(
            f"{where}: config.json does not name its class: `architectures` is {json.dumps(named)}, expected "
            f'["{row.causal_lm}"]. Save the model with save_pretrained of transformers, which writes it.'
        )
    if row.causal_lm not in named:
        raise OffcourseError(
            f"{where} holds {', '.join(named)}, but resources/models.tsv says {row.name}. Correct the `architecture` "
            "column; docs/classes.md lists the classes."
        )
    return sizes_in(config, where)


def refuse_adapter(folder: Path, where: str) -> None:
    """Raise `OffcourseError` for a folder with an adapter, which holds no model of its own."""
    if (folder / "adapter_config.json").exists():
        raise OffcourseError(
            f"{where} has adapter_config.json: it is an adapter (LoRA), which changes another model's weights. Merge "
            "it into that model (merge_and_unload in peft), save the result into another folder, and use that folder."
        )


def _check_plain(folder: Path, config: Mapping[str, Any], where: str) -> None:
    """Refuse entries of config.json that change the weights, or the file they are read from, during loading."""
    kind = next((kind for name, kind in QUANTISED.items() if (folder / name).exists()), None)
    settings = config.get("quantization_config") or config.get("compression_config")
    if settings or kind:
        method = settings.get("quant_method") if isinstance(settings, dict) else None
        raise OffcourseError(
            f"{where} holds quantised weights ({method or kind or 'quantization_config'}). Offcourse measures plain "
            "weights only: use the float16, bfloat16 or float32 version of the model, or a GGUF file, which is "
            "converted to float32."
        )
    if (other := config.get("transformers_weights")) is not None:
        raise OffcourseError(
            f"{where}: config.json says that the weights are in {other!r} (transformers_weights). Name the file "
            f"{SINGLE} and remove that entry."
        )


def sizes(folder: Path, where: str, repair: str) -> dict[str, int | None]:
    """`sizes_in` of a folder's config.json."""
    return sizes_in(read_json(folder / "config.json", where, repair), where)


def sizes_in(config: Mapping[str, Any], where: str) -> dict[str, int | None]:
    """The sizes (`SIZES`) that a configuration states; None where the configuration leaves a size to the class.

    Raises `OffcourseError` for a size that is no whole number above 0, and for heads that cannot share their keys.
    """
    found: dict[str, int | None] = {}
    for size, names in SIZES.items():
        stated = {name: config[name] for name in names if name in config}
        for name, value in stated.items():
            if value is None and size in OPTIONAL:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise OffcourseError(
                    f"{where}: {name} in config.json is {json.dumps(value)}, expected a whole number above 0."
                )
        found[size] = next(iter(stated.values()), None)
    heads, kv_heads = found["heads"], found["kv_heads"]
    if heads and kv_heads and heads % kv_heads:
        raise OffcourseError(
            f"{where}: config.json has {heads} attention heads and {kv_heads} key-value heads; the second number must "
            "divide the first."
        )
    return found


def _check_names(tensors: Mapping[str, Tensor], row: Architecture, sizes: Mapping[str, int | None], where: str) -> None:
    """Refuse tensor names with a prefix that the class does not know, and a number of blocks unlike config.json's."""
    base, stem = row.blocks.split(".", 1)
    blocks = re.compile(rf"(?P<front>.*?)(?:{re.escape(base)}\.)?{re.escape(stem)}\.(?P<number>\d+)\.")
    found = [match for match in map(blocks.match, tensors) if match]
    fronts = sorted({match["front"] for match in found})
    if not found:
        raise OffcourseError(
            f"{where} has no tensor {row.blocks}.0: its names begin with {min(tensors, default='nothing')!r}. The "
            f"weights are not those of a {row.causal_lm}, or were saved by something other than save_pretrained."
        )
    if fronts != [""]:
        raise OffcourseError(
            f"{where}: names of its tensors begin with {fronts[-1]!r} ({found[-1].string}), which {row.causal_lm} does "
            "not know; transformers would fill the model with random weights. Save the model itself, not what a "
            "compiler or trainer wrapped around it (`model._orig_mod.save_pretrained`, `unwrap_model`)."
        )
    numbers = {int(match["number"]) for match in found}
    layers = sizes["layers"]
    if layers is not None and (len(numbers), max(numbers)) != (layers, layers - 1):
        raise OffcourseError(
            f"{where}: config.json says {layers} blocks, the files hold {len(numbers)} (numbers {min(numbers)} to "
            f"{max(numbers)}). The weights are not complete, or not those of this configuration."
        )


def _check_sizes(tensors: Mapping[str, Tensor], sizes: Mapping[str, int | None], where: str) -> None:
    """Refuse sizes in config.json that no tensor has, before memory for a model of these sizes is allocated."""
    dimensions = {length for tensor in tensors.values() for length in tensor.shape}
    for size in ("vocabulary", "width", "mlp_width"):
        if sizes[size] is not None and sizes[size] not in dimensions:
            names = " / ".join(SIZES[size])
            raise OffcourseError(
                f"{where}: config.json has {sizes[size]} as {names}, but no tensor of the files has that many rows or "
                "columns. The weights are not those of this configuration."
            )
    if sizes["head_dim"] is not None and sizes["heads"] and sizes["heads"] * sizes["head_dim"] not in dimensions:
        raise OffcourseError(
            f"{where}: config.json has {sizes['heads']} heads of {sizes['head_dim']} (head_dim), but no tensor of the "
            "files has as many rows or columns as all heads together."
        )
