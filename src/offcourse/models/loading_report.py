"""A loaded model must have exactly the tensors of its files: none missing, none left over, none of another shape.

`transformers` fills missing tensors with random numbers and only warns. This module therefore reads its loading report,
and also compares names and shapes with the headers of the files.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from offcourse.errors import OffcourseError
from offcourse.models.headers import Tensor
from offcourse.models.places import places_of

# Types in which a weight may be stored; integers mean quantised or damaged weights.
FLOATS = ("F64", "F32", "F16", "BF16")
# Relative tolerance for stored rotary frequencies, which may have been rounded to half precision. Frequencies of
# another base differ by far more.
ROUNDING = 0.02
SHOWN = 4  # names in a message


@dataclass(frozen=True)
class Extra:
    """A tensor in files of healthy models that the class does not load, because the class computes the tensor itself.

    pattern: a regular expression for the whole name. holds: whether a stored tensor equals what the class computes; an
    unequal tensor is refused.
    """

    pattern: str
    reason: str
    holds: str


EXTRAS = (
    Extra(
        r"(model|gpt_neox)\.layers\.\d+\.(self_attn|attention)\.rotary_emb\.inv_freq",
        "files of Llama 1, Llama 2 and Pythia hold the rotary frequencies, which follow from rope_theta in config.json",
        "frequencies",
    ),
    Extra(
        r"transformer\.h\.\d+\.attn\.bias|gpt_neox\.layers\.\d+\.attention\.bias",
        "files of GPT-J and Pythia hold the causal mask, a lower triangle",
        "triangle",
    ),
    Extra(
        r"transformer\.h\.\d+\.attn\.masked_bias|gpt_neox\.layers\.\d+\.attention\.masked_bias",
        "files of GPT-J and Pythia hold the number that masked scores were set to; any large negative one masks",
        "negative",
    ),
)


def refuse_unlike(module: nn.Module, tensors: Mapping[str, Tensor], report: Mapping[str, Any], folder: Path) -> None:
    """Raise `OffcourseError` unless every tensor of the files was loaded, and every parameter came from the files.

    tensors: {name: header} of the files. report: the loading report of `from_pretrained(output_loading_info=True)`.
    """
    state = module.state_dict()
    places = places_of(module, tensors)
    left_over = {name for name, place in places.items() if place is None} | set(report["unexpected_keys"])
    loaded = {place for place in places.values() if place is not None}
    # Tied parameters are one tensor with two names; the files hold at least one of the names.
    for one, other in module.all_tied_weights_keys.items():
        loaded |= {one, other} if loaded & {one, other} else set()
    problems = []
    if absent := (state.keys() - loaded) | set(report["missing_keys"]):
        problems.append(f"{_listed(absent)} missing from the files (transformers would put random numbers there)")
    known = {name for name in left_over & tensors.keys() if extra_of(name)}
    if strange := left_over - known:
        problems.append(f"{_listed(strange)} in the files, but unknown to {type(module).__name__}")
    if other := [name for name in known if not _harmless(module, tensors[name], name)]:
        problems.append(f"{_listed(other)} in the files, but not equal to what the class computes from config.json")
    if wrong := sorted(map(tuple, report["mismatched_keys"])):
        shapes = [f"{name} (files: {list(file)}, model: {list(model)})" for name, file, model in wrong]
        problems.append(f"{_listed(shapes)} of another shape than config.json gives")
    parts = Counter(place for place in places.values() if place is not None)
    if few := sorted(place for place, count in parts.items() if count > 1 and count % len(state[place])):
        problems.append(f"{_listed(few)} made of another number of tensors than there are experts")
    stored = {name: tensor.dtype for name, tensor in tensors.items() if places[name] is not None}
    if whole := sorted(f"{name} ({dtype})" for name, dtype in stored.items() if dtype not in FLOATS):
        problems.append(f"{_listed(whole)} stored as something other than floating point (quantised or damaged)")
    if problems:
        raise OffcourseError(
            f"the weights in {folder} are not those of its configuration: {'; '.join(problems)}. Use a complete copy "
            "of the model, or correct config.json; a copy that Offcourse prepared is made again when its folder is "
            "deleted."
        )


def refuse_not_finite(module: nn.Module, folder: Path) -> None:
    """Raise `OffcourseError` for a parameter with NaN or infinite numbers.

    One NaN makes every probability NaN, even in the row of an unused token. In float16 numbers above 65,504 are
    infinite.
    """
    for name, parameter in module.named_parameters():
        if parameter.is_meta:
            continue
        low, high = parameter.detach().aminmax()
        if bool(low.isfinite() & high.isfinite()):
            continue
        rows = (~parameter.detach().isfinite()).reshape(len(parameter), -1).any(1).nonzero().flatten().tolist()
        dtype = str(parameter.dtype).removeprefix("torch.")
        raise OffcourseError(
            f"the weights in {folder} hold numbers that are NaN or infinite in {dtype}: {name}, "
            f"{len(rows)} of {len(parameter)} rows (the first is {rows[0]}). Use an undamaged copy of the model; where "
            "only float16 overflows, choose dtype: bfloat16 or float32."
        )


def extra_of(name: str) -> Extra | None:
    """The entry of `EXTRAS` for a tensor of that name."""
    return next((extra for extra in EXTRAS if re.fullmatch(extra.pattern, name)), None)


def _harmless(module: nn.Module, tensor: Tensor, name: str) -> bool:
    """Whether a stored tensor of `EXTRAS` equals what the module computes."""
    extra = extra_of(name)
    with safe_open(tensor.file, framework="pt") as opened:
        value = opened.get_tensor(name).float()
    if extra.holds == "negative":
        return bool((value < -1000).all())
    if extra.holds == "triangle":
        return value.dim() >= 2 and torch.equal(value != 0, torch.ones_like(value).tril() != 0)
    computed = [buffer for key, buffer in module.named_buffers() if key.endswith("rotary_emb.inv_freq")]
    return any(
        own.shape == value.shape and torch.allclose(own.cpu().float(), value, rtol=ROUNDING, atol=0) for own in computed
    )


def _listed(names: Sequence[str] | set[str]) -> str:
    names = sorted(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
