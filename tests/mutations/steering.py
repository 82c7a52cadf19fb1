"""The second study of the mutation test: steering methods on tasks and questions, and a vector file; and its changes.

It has every kind of step that the smoke study lacks (`KINDS`). A change of a method's or step's code is made to the
tracked text of its module, so the study runs from a copy of the checkout.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mutations.changes import MODEL, Change, Place
from mutations.world import STEERED
from offcourse.data.registry import Registry
from offcourse.files import sha256
from offcourse.vectors import files
from offcourse.vectors.facts import VectorFile

CHECKOUT = Path(__file__).resolve().parents[2]
FILE = "vectors/tiny.safetensors"
PASSAGES = "passages/neutral.tsv"
# Parts of the steps that this study has, "" for a method's vectors.
KINDS = ("", "sweep", "side_effects", "draws", "controls", "precisions", "folds", "answers")
STRONG = {"strengths": [4, 60], "passages": 3}
QUESTIONS = {"questions": ["misconceptions"], "limit": 6}
STUDY: dict[str, Any] = {
    "study": STEERED,
    "models": [MODEL],
    "tasks": ["antonym", "present-past"],
    "methods": [
        "function_vectors",
        "caa",
        "inference_time_intervention",
        "in_context_vectors",
        "prompting",
        "vector_file",
    ],
    "function_vectors": {"shots": 2, "trials": 2, "n_heads": [2], "strengths": [1], "test_items": 4},
    "caa": {
        "pairs": 3,
        "shots": 2,
        "draws": 2,
        "controls": ["random_direction", "wrong_task", "shuffled_labels", "sign_flipped"],
        "precisions": ["bfloat16"],
        **STRONG,
        **QUESTIONS,
    },
    "inference_time_intervention": {"pairs": 4, "shots": 2, "heads": 2, **STRONG},
    "in_context_vectors": {"demonstrations": 3, **STRONG},
    "prompting": {"strengths": [0, 2], "passages": 3, **QUESTIONS},
    "vector_file": {
        "file": FILE,
        "controls": ["random_direction", "sign_flipped"],
        "precisions": ["bfloat16"],
        **STRONG,
    },
}


def write_vectors(path: Path, scale: float = 1.0, **facts: Any) -> str:
    """Write the vector file of the study; its sha256. scale: of its numbers. facts: of `VectorFile`, if others."""
    model = Registry.load().model(MODEL)
    numbers = np.random.default_rng(0).standard_normal((model.layers, model.width)).astype(np.float32) * scale
    said = {"operation": "add", "site": "residual", "positions": "all", "together": False, "model": model.identity}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    files.write(path, VectorFile(dict(enumerate(numbers)), **said | facts))
    return sha256(path)


def config(folder: Path) -> dict[str, Any]:
    """The study's configuration, for a folder with its vector file."""
    return config_of(sha256(folder / FILE))


def config_of(digest: str) -> dict[str, Any]:
    """The study's configuration, with a vector file of this sha256."""
    return {**STUDY, "vector_file": STUDY["vector_file"] | {"sha256": digest}}


def run(folder: Path) -> None:
    """Run the study in a folder, by Snakemake. Raises `RuntimeError` with its messages."""
    write_vectors(folder / FILE)
    (folder / "steered.yaml").write_text(yaml.safe_dump(config(folder), sort_keys=False), encoding="utf-8")
    words = ["--cores", "2", "--configfile", str(folder / "steered.yaml"), "--directory", str(folder)]
    path = os.pathsep.join([str(CHECKOUT / "tests"), str(CHECKOUT / "src")])
    more = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(CHECKOUT / "Snakefile"), *words]
    done = subprocess.run(command, env=os.environ | more, capture_output=True, text=True, cwd=CHECKOUT)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def changes() -> list[Change]:
    """All of them."""
    return [*_keys(), *_files(), *_passages(), *_code()]


def _keys() -> Iterator[Change]:
    """Changes of the configuration."""
    of_section = {
        "caa": {
            "pairs": 4,
            "shots": 3,
            "strengths": [4, 60, 90],
            "strengths (order)": [60, 4],
            "passages": 4,
            "draws": 3,
            "controls": ["random_direction", "sign_flipped"],
            "controls (order)": STUDY["caa"]["controls"][::-1],
            "precisions": ["float16"],
            "limit": 7,
            "tasks": ["antonym"],
            "dtype": "bfloat16",
        },
        "inference_time_intervention": {"heads": 3, "pairs": 5},
        "in_context_vectors": {"demonstrations": 4},
        "prompting": {"strengths": [0, 1], "passages": 4, "limit": 7},
        "vector_file": {"strengths": [4, 90], "passages": 4, "precisions": ["float16"], "controls": ["sign_flipped"]},
        "function_vectors": {"test_items": 5, "shots": 3},
    }
    for section, values in of_section.items():
        for name, value in values.items():
            at = name.split(" ")[0]
            # Precisions beside the method's own may not repeat it.
            more = {"precisions": ["float32"]} if (section, at) == ("caa", "dtype") else {}
            yield Change(
                "configuration", f"{section}.{name}", partial(_set, section=section, values={at: value, **more})
            )
    for switch, value in {"splits": "disjoint", "factor_shots": "6", "selection": "halves"}.items():
        yield Change("configuration", f"protocol.{switch}", partial(_set, section="protocol", values={switch: value}))
    rows = {"max_rows": 64}
    yield Change("configuration", "numerics.max_rows", partial(_set, section="numerics", values=rows))


def _set(place: Place, section: str, values: dict[str, Any]) -> None:
    place.config[section] = place.config.get(section, {}) | values


def _files() -> Iterator[Change]:
    """Changes of the vector file; but for its place, the study names the new sha256."""
    yield Change("vector file", "place", _elsewhere)
    said = {
        "bytes": {"scale": 2.0},
        "metadata positions": {"positions": "last"},
        "metadata operation": {"operation": "replace"},
        "metadata together": {"together": True},
        "metadata made": {"made": {"by": "hand"}},
    }
    for what, facts in said.items():
        yield Change("vector file", what, partial(_rewritten, facts=facts))


def _elsewhere(place: Place) -> None:
    other = "vectors/elsewhere.safetensors"
    (place.folder / other).write_bytes((place.folder / FILE).read_bytes())
    place.config["vector_file"]["file"] = other


def _rewritten(place: Place, facts: dict[str, Any]) -> None:
    place.config["vector_file"]["sha256"] = write_vectors(place.folder / FILE, **facts)


def _passages() -> Iterator[Change]:
    """Changes of the neutral passages: of one that is read, and of one behind all that are read."""
    for what, row in (("beginning", 1), ("continuation", 2), ("a passage that no step reads", 150)):
        yield Change(f"resources/{PASSAGES}", what, partial(_passage, row=row, column=int(what == "continuation")))


def _passage(place: Place, row: int, column: int) -> None:
    path = place.resources / PASSAGES
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n")]
    lines[row][column] = f"Then {lines[row][column]}"
    path.write_text("".join("\t".join(cells) + "\n" for cells in lines), encoding="utf-8")


# Changes of code: module, what stands there now, what stands there then.
CODE = {
    "steering/caa.py": (
        "replace(contrasts, pairs=pairs)).mean(0)",
        "replace(contrasts, pairs=pairs)).mean(0) * 1.5",
    ),
    "steering/prompting.py": ('return f"{task.description}.\\n\\n"', 'return f"{task.description}!\\n\\n"'),
    "steering/vector_file.py": (
        "found = {layer: torch.from_numpy(numbers)",
        "found = {layer: -torch.from_numpy(numbers)",
    ),
    "steering/inference_time_intervention.py": ("@ toward).std()", "@ toward).std() * 2"),
    "methods/side_effects.py": (
        "return max(0.0, float((first.exp() * (first - second)).sum()))",
        "return max(0.0, 2 * float((first.exp() * (first - second)).sum()))",
    ),
    "methods/reliability.py": ("SEED = 0", "SEED = 1"),
    "methods/precisions.py": ("hit, alike) for item", "hit, alike / 2) for item"),
    "methods/question_steering.py": ("scores.double().numpy().ravel()", "(scores.double() * 2).numpy().ravel()"),
    "data/folds.py": ("fold = int(sizes[1] < sizes[0])", "fold = int(sizes[1] <= sizes[0])"),
    "data/passages.py": ("frame[:count]", "frame[-(count or len(frame)):]"),
}


def _code() -> Iterator[Change]:
    for name, (old, new) in CODE.items():
        yield Change("code", name, partial(_edited, name=name, old=old, new=new))


def _edited(place: Place, name: str, old: str, new: str) -> None:
    path = place.code / name
    text = path.read_text(encoding="utf-8")
    if text.count(old) != 1:
        raise RuntimeError(f"mutations.steering.CODE: {name} has {text.count(old)} times {old!r}, and needs it once")
    path.write_text(text.replace(old, new), encoding="utf-8")
