"""Spoiled files of others: vector files that are judged, and archives of other labs that are merged."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from torture import damages
from torture.case import PLACES, Case, damaged, verb, written
from torture.world import World

# Damages after which a reader may find everything that it needs.
HARMLESS = ("one bit", "last byte gone", "twice", "NUL", "byte that is no UTF-8")
SUFFIXES = {"safetensors": ".safetensors", "gguf": ".gguf", "lm-eval": ".pt"}


def cases(world: World, model: str) -> Iterator[Case]:
    """Every case, those of one kind together."""
    yield from _vector_files(world, model)
    yield from _archives(world)


def _vector_files(world: World, model: str) -> Iterator[Case]:
    from offcourse.data.registry import Registry
    from offcourse.vectors import files
    from offcourse.vectors.facts import VectorFile

    row = Registry.load().model(model)
    facts = {"operation": "add", "site": "residual", "positions": "all", "together": True, "model": row.identity}
    numbers = {block: np.full(row.width, block + 1, np.float32) for block in (1, 2)}
    for kind, suffix in SUFFIXES.items():
        path = world.folder / f"steering{suffix}"
        files.write(path, VectorFile(numbers, **facts), kind, hint="llama")
        make = partial(
            Case,
            f"vector file ({kind})",
            file=path,
            acts=(partial(_read_to_be_judged, path, model),),
            names=(path.name, "vector_file"),
        )
        for what, damage in damages.ANY.items():
            yield make(what, spoil=damaged(damage), refused=what not in HARMLESS)
        for what, spoil in PLACES.items():
            yield make(what, spoil=spoil, refused=True)
        for what, content, refused in CONTENTS[kind](path, row.width, world):
            yield make(what, spoil=written(content), refused=refused)


def _read_to_be_judged(path: Path, model: str) -> None:
    """What `offcourse judge` does with a file before it writes anything."""
    from offcourse.data.registry import Registry
    from offcourse.judge.asked import asked

    registry = Registry.load()
    asked(str(path), [model], [], {"operation": "add", "positions": "all"}, registry).check(registry)


def _own(path: Path, width: int, world: World) -> Iterator[tuple[str, bytes, bool]]:
    """(what, content, whether it must be refused) of safetensors with other facts or tensors."""
    from safetensors import safe_open
    from safetensors.numpy import load_file, save

    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    [(key, text)] = metadata.items()
    for what, document in damages.sampled(json.loads(text), 40, seed=20):
        yield f"facts, {what}", save(tensors, {key: damages.as_json(document).decode("utf-8", "replace")}), False
    for what, other in {
        "no tensors": {},
        "a block of another width": tensors | {"layer.2": np.ones(width + 1, np.float32)},
        "a block that the model lacks": tensors | {"layer.900": np.ones(width, np.float32)},
        "a block below 0": tensors | {"layer.-1": np.ones(width, np.float32)},
        "a block with another name": tensors | {"layer.x": np.ones(width, np.float32)},
        "infinite numbers": tensors | {"layer.2": np.full(width, np.inf, np.float32)},
        "numbers that float32 cannot hold": tensors | {"layer.2": np.full(width, 1e300)},
        "whole numbers": tensors | {"layer.2": np.ones(width, np.int64)},
        "another axis": tensors | {"layer.2": np.ones((1, width), np.float32)},
        "nothing in a block": tensors | {"layer.2": np.ones(0, np.float32)},
    }.items():
        # Whole numbers are numbers.
        yield what, save(other, metadata), what != "whole numbers"
    yield "no facts", save(tensors), True


def _control(path: Path, width: int, world: World) -> Iterator[tuple[str, bytes, bool]]:
    """The same of control vectors in GGUF."""
    import gguf

    def file(architecture: str, blocks: dict[str, np.ndarray]) -> bytes:
        target = world.folder / "written.gguf"
        writer = gguf.GGUFWriter(str(target), architecture)
        for name, numbers in blocks.items():
            writer.add_tensor(name, numbers)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        content = target.read_bytes()
        target.unlink()
        return content

    ones = np.ones(width, np.float32)
    for what, (architecture, blocks) in {
        "a model instead of vectors": ("llama", {"token_embd.weight": np.ones((4, width), np.float32)}),
        "no tensors": ("controlvector", {}),
        "a block of another width": ("controlvector", {"direction.1": np.ones(width + 1, np.float32)}),
        "a block that the model lacks": ("controlvector", {"direction.900": ones}),
        "a block with another name": ("controlvector", {"direction.x": ones}),
        "a block twice": ("controlvector", {"direction.1": ones, "direction.01": ones}),
        "numbers that are none": ("controlvector", {"direction.1": ones * np.nan}),
        "two axes": ("controlvector", {"direction.1": np.ones((2, width), np.float32)}),
        "half precision": ("controlvector", {"direction.1": ones.astype(np.float16)}),
    }.items():
        yield what, file(architecture, blocks), True


def _steered(path: Path, width: int, world: World) -> Iterator[tuple[str, bytes, bool]]:
    """The same of steering files of lm-evaluation-harness, which torch saves."""
    import torch

    def file(entries: Any) -> bytes:
        out = io.BytesIO()
        torch.save(entries, out)
        return out.getvalue()

    ones = torch.ones(width)
    entry = {"action": "add", "steering_vector": ones, "steering_coefficient": 1.0, "bias": None}
    for key in entry:
        for what, value in damages.VALUES.items():
            # Some of these are coefficients and biases.
            yield f"{key}: {what}", file({"layers.1": entry | {key: value}}), key == "steering_vector"
        yield f"{key}: gone", file({"layers.1": {name: entry[name] for name in entry if name != key}}), True
    for what, entries in {
        "a list": [entry],
        "a tensor": ones,
        "no hook points": {},
        "a number as a hook point": {1: entry},
        "a hook point that is no block": {"layers.1.mlp": entry},
        "a block twice": {"layers.1": entry, "model.layers.1": entry},
        "a block that the model lacks": {"layers.900": entry},
        "two actions": {"layers.1": entry, "layers.2": entry | {"action": "clamp", "steering_coefficient": 0.0}},
        "a sparse vector": {"layers.1": entry | {"steering_vector": ones.to_sparse()}},
        "complex numbers": {"layers.1": entry | {"steering_vector": ones.to(torch.complex64)}},
        "a vector of no memory": {"layers.1": entry | {"steering_vector": torch.empty(width, device="meta")}},
        "another width": {"layers.1": entry | {"steering_vector": torch.ones(width + 1)}},
    }.items():
        # A number names a block.
        yield what, file(entries), what != "a number as a hook point"
    yield "object of Python", f"cos\nsystem\n(S'touch {world.canary}'\ntR.".encode(), True


CONTENTS: dict[str, Callable[[Path, int, World], Iterator[tuple[str, bytes, bool]]]]
CONTENTS = {"safetensors": _own, "gguf": _control, "lm-eval": _steered}


def _archives(world: World) -> Iterator[Case]:
    """Archives of the finished study, which another lab merges into an empty store."""
    from offcourse.data.registry import Registry
    from offcourse.layout import Layout
    from offcourse.share.pack import pack
    from offcourse.study.config import read_study

    study, registry = read_study(world.study), Registry.load()
    for suffix in (".tar", ".tar.gz", ".tar.zst"):
        path = world.folder / f"lab{suffix}"
        pack(study, registry, Layout(study.study, world.lab), path)
        make = partial(Case, f"archive ({suffix})", file=path, acts=(partial(_merge, world, path),), names=(path.name,))
        for what, damage in damages.ANY.items():
            # Of a compressed file, what is behind its end is no part of it.
            refused = what not in HARMLESS or (suffix != ".tar" and what == "last byte gone")
            yield make(what, spoil=damaged(damage), refused=refused)
        for what, spoil in PLACES.items():
            yield make(what, spoil=spoil, refused=True)
        yield make("web page", spoil=damaged(damages.LINES["web page"]), refused=True)


def _merge(world: World, path: Path) -> None:
    """`offcourse share merge` into an empty folder; a refused archive leaves nothing there."""
    other = world.folder / "other"
    before = set(other.rglob("*"))
    try:
        verb("share", "merge", path, "--directory", other)()
    except BaseException as end:
        code = getattr(end, "exit_code", getattr(end, "code", 1))
        new = set(other.rglob("*")) - before
        left = [str(each) for each in new if each.is_file() and ".snakemake" not in each.parts]
        if code and left:
            print(f"Traceback (most recent call last): left over: {left[:3]}", file=sys.stderr)
        raise
