"""Converting a GGUF file to a float32 safetensors folder once, since reading GGUF is slow; the conversion is exact."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import torch

from offcourse.errors import OffcourseError


@contextmanager
def _parsed_once() -> Iterator[None]:
    """Cache what `transformers` asks of `gguf`: one parse of a file instead of three, one map of names, not hundreds.

    `transformers` asks anew for the configuration, the weights and the tokenizer, and for the names of every
    sub-module. The answers depend on the arguments alone, so they can be cached.
    """
    originals = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    for name, original in originals.items():
        setattr(gguf, name, functools.cache(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(gguf, name, original)


def convert(file: Path, folder: Path) -> None:
    """Write `file` (one GGUF) as configuration, float32 safetensors and tokenizer into `folder`.

    Raises `OffcourseError` for a file that `transformers` cannot read as GGUF: one of a class or with a type of numbers
    that it does not know, or a truncated one.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = dict(pretrained_model_name_or_path=file.parent, gguf_file=file.name)
    try:
        with _parsed_once():
            model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, trust_remote_code=False)
            tokenizer = AutoTokenizer.from_pretrained(**where, trust_remote_code=False)
    except MemoryError:
        raise
    # A file that is cut or damaged can raise any error, where its reader meets the damage.
    except Exception as error:
        reason = (str(error) or "no reason given").splitlines()[0]
        raise OffcourseError(
            f"{file} cannot be read as a GGUF model ({type(error).__name__}: {reason}). {_advice(error, reason)}"
        ) from error
    # The loaded weights are plain float32. transformers refuses to save them only because of these two marks.
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _advice(error: Exception, reason: str) -> str:
    """What to do about a GGUF file that cannot be read."""
    if isinstance(error, NotImplementedError) or "GGMLQuantizationType" in reason:
        return "Its numbers are of a type that cannot be read: use a file of another type, such as F16, Q8_0 or Q4_K_M."
    if "architecture" in reason:
        return "Use a model of another class, or this model's own files (a folder with config.json and safetensors)."
    return "It may be truncated: use an undamaged copy of the file."
