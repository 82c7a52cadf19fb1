"""Vector files of all formats, cut, with bytes changed and with facts missing: one message that names the file."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from offcourse.errors import OffcourseError
from offcourse.vectors import files
from offcourse.vectors.facts import NAME, VectorFile

NUMBERS = {block: np.linspace(-1, 1, 8, dtype=np.float32) + block for block in (1, 3)}
FACTS = {"operation": "add", "site": "residual", "positions": "all", "together": True, "model": "a/b@" + "0" * 40}


def written(path, kind):
    files.write(path, VectorFile(NUMBERS, **FACTS), kind, hint="llama", blocks="layers")
    return path.read_bytes()


def outcome(path) -> str:
    """The message of a refusal; "" if the file is read, whose numbers are then those that were written."""
    try:
        found = files.read(path)
    except OffcourseError as error:
        assert path.name in str(error) and "\n" not in str(error)
        return str(error)
    assert found.layers == list(NUMBERS) and all(
        np.array_equal(found.numbers[block], NUMBERS[block]) for block in NUMBERS
    )
    return ""


@pytest.mark.parametrize("kind", files.FORMATS)
def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path, kind):
    whole = written(tmp_path / "whole", kind)
    cut = tmp_path / "cut.safetensors"
    assert not outcome(tmp_path / "whole")
    for size in sorted({*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1}):
        cut.write_bytes(whole[:size])
        # The tensors of GGUF end with padding.
        assert outcome(cut) or (kind == "gguf" and len(whole) - size < 32), size


@pytest.mark.parametrize("kind", files.FORMATS)
def test_a_file_with_a_changed_byte_is_refused_or_has_the_same_numbers(tmp_path, kind):
    whole = written(tmp_path / "whole", kind)
    other, refused = tmp_path / "other.safetensors", 0
    for at in range(0, len(whole), max(1, len(whole) // 120)):
        for bit in (1, 128):
            other.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            refused += bool(outcome(other))
    assert refused > 20


@pytest.mark.parametrize("fact", ["version", "layers", "sha256", *FACTS])
def test_each_fact_that_safetensors_lack_is_named(tmp_path, fact):
    written(tmp_path / "whole", "safetensors")
    with safe_open(tmp_path / "whole", "numpy") as file:
        said = json.loads(file.metadata()[NAME])
    said.pop(fact)
    tensors = {f"layer.{block}": numbers for block, numbers in NUMBERS.items()}
    save_file(tensors, tmp_path / "less", metadata={NAME: json.dumps(said)})
    assert fact in outcome(tmp_path / "less")
