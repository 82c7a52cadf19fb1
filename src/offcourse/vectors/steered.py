"""Steering files of lm-evaluation-harness (its model `steered`).

Such a file is a dict that torch saved: {hook point: {"action", "steering_vector", "steering_coefficient", "bias"}}. A
hook point is the name of a module below the model's `base_model`, as "layers.3" for block 3, counted from 0. The
module's output is edited at every token, at all hook points at once. "add" adds the vector times the coefficient.
"clamp" sets the component along the vector to the coefficient, after `bias` is taken away; with coefficient 0 and no
bias the component is projected out, and any other clamp is none of our operations. The harness also takes a table
(.csv) of features of sparse coders, which has no vectors in it. Files that we write hold our facts in the first entry,
under a key that the harness does not read.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from offcourse.errors import OffcourseError
from offcourse.files import write_whole
from offcourse.vectors.facts import NAME, VectorFile, float32

KEYS = ("action", "steering_vector", "steering_coefficient", "bias")
# The largest number of float32.
LARGEST = float(np.finfo(np.float32).max)
ADVICE = "lm-evaluation-harness edits at all positions, in all layers of the file together"


def read(path: Path) -> VectorFile:
    """The vectors of a steering file; facts only as far as the file has them.

    Raises `OffcourseError` for a file that is no steering file, or with an edit that is none of our operations.
    """
    import torch

    try:
        entries = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises many errors for what is damaged, or is more than tensors and plain values.
    except Exception as error:
        reason = (str(error) or "no reason given").splitlines()[0]
        raise OffcourseError(
            f"{path} cannot be read as tensors and plain values ({type(error).__name__}: {reason}). Save it with "
            "torch.save as a dict of hook points; other Python objects are not run."
        ) from error
    if not isinstance(entries, Mapping) or not entries or not all(isinstance(one, Mapping) for one in entries.values()):
        raise OffcourseError(
            f"{path} is no steering file of lm-evaluation-harness: expected a dict "
            f"{{hook point: {{{', '.join(KEYS)}}}}}."
        )
    numbers, operations, facts = {}, {}, None
    for hook, entry in entries.items():
        if missing := [key for key in KEYS if key not in entry]:
            raise OffcourseError(f"{path}: the hook point {hook} lacks {', '.join(missing)}.")
        layer = _block(str(hook), path)
        if layer in numbers:
            raise OffcourseError(f"{path} has two hook points of block {layer}, {hook} is the second. Keep one.")
        operations[layer], numbers[layer] = _edit(entry, f"hook point {hook}", path)
        facts = entry.get(NAME, facts)
    if len(set(operations.values())) > 1:
        raise OffcourseError(f"{path} adds at one hook point and clamps at another. Use a file with one action.")
    found = VectorFile(numbers, operation=next(iter(operations.values())), site="residual")
    return found.said(facts, path) if facts else found


def _block(hook: str, path: Path) -> int:
    """The block whose output a hook point is."""
    found = re.fullmatch(r"(?:[a-z_]+\.)*(\d+)", hook)
    if not found:
        raise OffcourseError(
            f"{path}: the hook point {hook} is not the output of a block, such as layers.3. Steer the residual stream "
            "after a block."
        )
    return int(found[1])


def _edit(entry: Mapping[str, Any], what: str, path: Path) -> tuple[str, Any]:
    """(operation, numbers) of one hook point."""
    import torch

    vector, factor, action = entry["steering_vector"], entry["steering_coefficient"], entry["action"]
    dense = isinstance(vector, torch.Tensor) and vector.layout == torch.strided and vector.dim() == 1
    if not dense or vector.is_meta or not isinstance(factor, int | float) or not abs(factor) <= LARGEST:
        raise OffcourseError(
            f"{path}: {what} needs a dense vector of one dimension, and a number of up to {LARGEST:g} as coefficient."
        )
    if action == "clamp" and factor == 0 and entry["bias"] is None:
        operation = "project_out"
    elif action == "add":
        operation, vector = "add", vector * factor
    else:
        raise OffcourseError(
            f"{path}: {what} has the action {action!r} with coefficient {factor}, which is none of our operations. "
            "Known: add, and clamp to 0 without a bias."
        )
    # numpy has no bfloat16; float32 holds every number of it.
    numbers = vector.detach().float() if vector.dtype == torch.bfloat16 else vector.detach()
    return operation, float32(numbers.numpy(), path, what)


def write(path: Path, vectors: VectorFile, blocks: str) -> None:
    """Write the vectors as a steering file, with our facts in the first entry.

    blocks: where the model keeps its blocks, from its `base_model`, as "layers". Raises `OffcourseError` for vectors
    that the harness would not use as they are meant.
    """
    import torch

    what = (vectors.site, vectors.operation, vectors.positions)
    actions = {"add": ("add", 1.0), "project_out": ("clamp", 0.0)}
    if vectors.site != "residual" or vectors.positions != "all" or vectors.operation not in actions:
        raise OffcourseError(
            f"{path}: a steering file of lm-evaluation-harness adds to the residual stream or projects out, at all "
            f"positions, and these vectors are of site {what[0]}, operation {what[1]} and positions {what[2]}. "
            + vectors.elsewhere(actions)
        )
    action, factor = actions[vectors.operation]
    entries = {
        f"{blocks}.{layer}": {
            "action": action,
            "steering_vector": torch.from_numpy(vectors.numbers[layer].copy()),
            "steering_coefficient": factor,
            "bias": None,
        }
        for layer in vectors.layers
    }
    entries[f"{blocks}.{vectors.layers[0]}"][NAME] = vectors.facts()
    write_whole(path, lambda temporary: torch.save(entries, temporary))
