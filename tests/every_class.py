"""Every class of `transformers` with a causal language model: its row, its path, and the path's error on a tiny model.

`make classes` runs all classes and writes resources/classes.tsv and docs/classes.md. A new release of `transformers` is
checked by the same command, which names the classes that changed.
"""

import argparse
import sys
import warnings
from dataclasses import dataclass, fields
from pathlib import Path

import oracles
import torch
import transformers

from offcourse.data.architectures import ARCHITECTURES, PATHS, Architecture, ClassRow, name_of, rows_of_classes
from offcourse.data.names import PAPER, RESOURCES, STEERING
from offcourse.engine import Engine, HeadRows, ResidualRows
from offcourse.engine.attention import uninstalled
from offcourse.engine.plain import PlainEngine
from offcourse.errors import OffcourseError
from offcourse.methods.check_model import capabilities
from offcourse.models.checks import model_checks
from offcourse.models.find import complete_row, find_row
from offcourse.models.find_plain import find_plain_row
from offcourse.models.load import LanguageModel
from offcourse.models.plain import PlainModel
from offcourse.models.tiny import tiny_module

# Longer than the tiny models' windows and chunks of 16 tokens, and than two rows of them in a forest.
LONG = [0, *((7 * i) % 500 + 2 for i in range(39))]
CHUNKS = (1, 7, 1000)
# Tokens of a batch on the plain path: one, three and all of the prompt's edits.
BATCHES = (1, 3 * len(LONG), 1000 * len(LONG))
LIMIT = 1e-4
DOCS = Path(__file__).parents[1] / "docs" / "classes.md"
# The device that tiny models are put on: the first entry.
DEVICE = ["cpu"]


@dataclass(frozen=True)
class Verdict:
    """What was found out about one class. error: None where the class is refused, for the reason in `why_not`.

    why_plain: why rows cannot be run, for a class on the plain path. lacks: the methods that it cannot run.
    """

    row: Architecture | None
    error: float | None
    why_not: str = ""
    places: tuple[str, ...] = ()
    path: str = ""
    why_plain: str = ""
    lacks: tuple[str, ...] = ()


def made(model_type: str, class_name: str) -> LanguageModel:
    """A tiny random model of a class, with the row that the finder gives it."""
    module = tiny_module(model_type, class_name, seed=1).to(DEVICE[0])
    return LanguageModel(module, complete_row(module, find_row(module, name_of(class_name))))


def plainly(model_type: str, class_name: str) -> PlainModel:
    """A tiny random model of a class, with the row that the finder gives it for the plain path."""
    module = tiny_module(model_type, class_name, seed=1).to(DEVICE[0])
    return PlainModel(module, find_plain_row(module, name_of(class_name)))


@torch.inference_mode()
def error_of(model: LanguageModel) -> float:
    """The largest relative error of the engine's logits, over kinds of passes, edits, layers, heads and chunk sizes."""
    generator = torch.Generator().manual_seed(3)
    heads = torch.randn(model.layers, model.heads, model.head_dim, generator=generator)
    vectors = torch.randn(2, model.width, generator=generator) * torch.tensor([[1.0], [20.0]])
    cut = len(LONG) // 2
    prompts = [LONG, LONG[: cut + 1], LONG[:cut] + LONG[: len(LONG) - cut]]
    plain = {
        replace: [
            oracles.residual_edited(model, LONG, layer, vector, replace)
            for layer in range(model.layers)
            for vector in vectors
        ]
        for replace in (False, True)
    }
    patched = [
        oracles.head_logits(model, LONG, layer, head, heads[layer, head])
        for layer in range(model.layers)
        for head in range(model.heads)
    ]
    alone = [oracles.logits(model, ids)[-1] for ids in prompts]
    pairs = []
    # Together with a longer prompt, so that the compared one is filled up.
    together, engine = [[*LONG, *LONG[:7]], LONG], Engine(model)
    for replace, expected in plain.items():
        states = engine.row_states(together, ResidualRows(vectors, model.layers, replace))[1]
        pairs += zip(states, [alone[0], *expected], strict=True)
    pairs += zip(engine.row_states(together, HeadRows(heads))[1], [alone[0], *patched], strict=True)
    for chunk in CHUNKS:
        engine = Engine(model, chunk)
        for replace, expected in plain.items():
            states = engine.row_states([LONG], ResidualRows(vectors, model.layers, replace))[0]
            pairs += zip(states, [alone[0], *expected], strict=True)
        pairs += zip(engine.row_states([LONG], HeadRows(heads))[0], [alone[0], *patched], strict=True)
        # A pass of one token cannot hold two prompts.
        engine = Engine(model, max(chunk, 2))
        for context in (None, engine.keep(LONG[:cut])):
            parts = engine.states(prompts, [[len(ids) - 1] for ids in prompts], [], context)
            states = [part.final[row[0]] for part in parts for row in part.where]
            pairs += zip(states, alone, strict=True)
    return _largest(model, pairs)


def _largest(model: LanguageModel, pairs: list) -> float:
    compared = ((oracles.unembedded(model, state.to(model.head_device)), logits) for state, logits in pairs)
    return max(float((ours.to(logits.device) - logits).norm() / logits.norm()) for ours, logits in compared)


@torch.inference_mode()
def error_of_plain(model: PlainModel) -> float:
    """The largest relative error of the plain path's logits: edits, layers, heads, sizes of batches, positions.

    Each is compared with one forward of the class's own code, of the edited prompt alone. Edits are as large as the
    stream, which is large in tiny models with a state, and larger; one that moves nothing would be no comparison.
    """
    generator = torch.Generator().manual_seed(3)
    heads = torch.randn(model.layers, model.heads, model.head_dim, generator=generator)
    stream = PlainEngine(model, why="").capture_residuals([LONG])[0, -1].square().mean().sqrt()
    vectors = torch.randn(2, model.width, generator=generator) * torch.tensor([[1.0], [20.0]]) * stream
    cells = [(layer, vector) for layer in range(model.layers) for vector in vectors]
    plain = {
        replace: [oracles.residual_edited(model, LONG, layer, vector, replace) for layer, vector in cells]
        for replace in (False, True)
    }
    places = [(layer, head) for layer in range(model.layers) for head in range(model.heads)]
    patched = [oracles.head_logits(model, LONG, layer, head, heads[layer, head]) for layer, head in places]
    whole, cut = oracles.logits(model, LONG), len(LONG) // 2
    moved = min(float((logits - whole[-1]).norm() / whole[-1].norm()) for each in plain.values() for logits in each)
    if moved < 100 * LIMIT:
        raise ValueError(f"an edit as large as the stream moves the logits by {moved:.1g} of their size")
    prompts = [LONG, LONG[: cut + 1], LONG[:cut] + LONG[: len(LONG) - cut]]
    pairs = []
    for tokens in BATCHES:
        engine = PlainEngine(model, tokens, why="")
        for replace, expected in plain.items():
            states = engine.row_states([prompts[1], LONG], ResidualRows(vectors, model.layers, replace))[1]
            pairs += zip(states, [whole[-1], *expected], strict=True)
        if model.heads:
            pairs += zip(engine.row_states([LONG], HeadRows(heads))[0], [whole[-1], *patched], strict=True)
        [part] = engine.states(prompts, [[cut - 1, cut], [cut], [cut - 1]], [0], engine.keep(LONG[:3]))
        expected = [[whole[cut - 1], whole[cut]], [whole[cut]], [whole[cut - 1]]]
        for rows, logits in zip(part.where, expected, strict=True):
            pairs += zip(part.final[rows], logits, strict=True)
    return _largest(model, pairs)


def judged(model_type: str, class_name: str) -> Verdict:
    """The verdict of one class: with rows, else on the plain path, else refused for the reason that it raises there."""
    try:
        model = made(model_type, class_name)
        Engine(model)
        near = set((model.localities or {}).values())
        places = ["window"] * any(place.window for place in near) + ["chunk"] * any(place.chunk for place in near)
        error = error_of(model)
        why = f"the engine's logits differ from plain forwards by {error:.1g} of their size"
    except Exception as broken:
        error, why = float("inf"), reason(broken, class_name)
    if error <= LIMIT:
        return Verdict(model.architecture, error, places=tuple(places), path="rows", lacks=lacking(model))
    try:
        model = plainly(model_type, class_name)
        error = error_of_plain(model)
    except Exception as broken:
        return Verdict(None, None, reason(broken, class_name))
    if not error <= LIMIT:
        return Verdict(None, None, f"the plain path's logits differ from single forwards by {error:.1g} of their size")
    return Verdict(model.architecture, error, path="plain", why_plain=why, lacks=lacking(model))


def reason(error: Exception, class_name: str) -> str:
    """What an error says of a class, without the class's name."""
    if isinstance(error, OffcourseError):
        return str(error).removeprefix(f"{class_name}: ")
    return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def lacking(model: LanguageModel) -> tuple[str, ...]:
    """The methods that the checks at load refuse for a model, beside those that speak for a single model."""
    with uninstalled(model):
        checks = model_checks(model, LONG[:12])
    return tuple(method for method, found in capabilities(checks, STEERING).items() if not found["runs"])


def table(verdicts: dict[tuple[str, str], Verdict]) -> str:
    """resources/classes.tsv of some verdicts by (model_type, class)."""
    lines = ["\t".join(field.name for field in fields(ClassRow))]
    for (model_type, class_name), found in verdicts.items():
        known = {"name": name_of(class_name), "model_type": model_type, "causal_lm": class_name}
        known |= {"error": "" if found.error is None else f"{found.error:.0e}", "why_not": found.why_not}
        known |= {"path": found.path, "why_plain": found.why_plain}
        facts = (
            {field.name: cell(getattr(found.row, field.name)) for field in fields(Architecture)} if found.row else {}
        )
        empty = {field.name: "no" if field.type is bool else "" for field in fields(ClassRow)}
        lines.append("\t".join((empty | facts | known)[field.name] for field in fields(ClassRow)))
    return "\n".join(lines) + "\n"


def cell(value) -> str:
    """A fact as a cell of a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(value) if isinstance(value, tuple) else str(value or "")


def page(verdicts: dict[tuple[str, str], Verdict]) -> str:
    """docs/classes.md of some verdicts."""
    ordered = sorted(verdicts.items(), key=lambda each: each[0][1].lower())
    by_path = {path: [(key, found) for key, found in ordered if found.path == path] for path in (*PATHS, "")}
    rows, plain, refused = (by_path[path] for path in (*PATHS, ""))
    chunks = f"{', '.join(map(str, CHUNKS[:-1]))} and {CHUNKS[-1]}"
    lines = [
        "# Classes of models",
        "",
        f"Offcourse runs {len(rows) + len(plain)} of {len(verdicts)} decoder-only classes of `transformers` "
        f"{transformers.__version__}: {len(rows)} with rows of edits beside a prompt, {len(plain)} on the plain path, "
        "with one whole forward per edit ([engine](engine.md)).",
        "",
        "`make classes` makes a tiny random model of each class and finds its row by structure. It compares every",
        f"edit in every layer and head with one plain forward, in passes of {chunks} rows, with a prompt",
        "that crosses every window. A class is exact when the largest relative error of its logits in float32 is at",
        f"most {LIMIT:g}. A class that is not exact with rows is compared on the plain path, in batches of one, three",
        "and all edits. The command writes this page and `resources/classes.tsv`, and names classes that changed.",
        "",
        "A real model is checked again when it is loaded ([engine](engine.md)). A class of `transformers` that is not",
        "listed here is found by structure at that moment: with rows, or on the plain path where its structure,",
        "attention or masks allow no rows. Its model is used if every check passes, and `model.json` says that the row",
        "was found, and which path it takes and why.",
        "",
        f"Methods are {', '.join(PAPER)}, and steering methods such as {', '.join(STEERING)}, which edit the residual",
        "stream. Function vectors need attention heads in every block. The logit lens (with apathy) needs blocks that",
        "add their sub-layers' outputs to the stream as they are.",
        "",
        "## With rows",
        "",
        "| class | `architecture` | error | methods | particular |",
        "|---|---|---|---|---|",
    ]
    for (_, class_name), found in rows:
        row, own = found.row, name_of(class_name) in ARCHITECTURES
        particular = (
            ["written by hand"] * own
            + [f"layers with a {place}" for place in sorted(found.places)]
            + ["parallel"] * row.parallel
            + ["post-norms"] * bool(row.post_norms)
        )
        particular += scales(row)
        particular += ["one product replaced"] * (not row.attention_interface)
        particular += ["mixture"] * (
            row.mlp_output.split(".")[-1] in ("mlp", "ffn", "block_sparse_moe", "feed_forward")
        )
        lines.append(f"{start(class_name, found)} {', '.join(particular)} |")
    lines += [
        "",
        "## On the plain path",
        "",
        "| class | `architecture` | error | methods | particular | why no rows |",
        "|---|---|---|---|---|---|",
    ]
    for (_, class_name), found in plain:
        row = found.row
        particular = [f"mixers {row.attention.replace('|', ' or ')}"] * (not row.attention_output) + scales(row)
        lines.append(f"{start(class_name, found)} {', '.join(particular)} | {found.why_plain.replace('|', '/')} |")
    lines += ["", "## Refused", "", "| class | why |", "|---|---|"]
    lines += [f"| {class_name} | {found.why_not.replace('|', '/')} |" for (_, class_name), found in refused]
    return "\n".join(lines) + "\n"


def start(class_name: str, found: Verdict) -> str:
    """The cells of a class that both tables of the page have."""
    methods = f"all but {', '.join(found.lacks)}" if found.lacks else "all"
    return f"| {class_name} | {name_of(class_name)} | {found.error:.0e} | {methods} |"


def scales(row: Architecture) -> list[str]:
    """The factors of a class, in words."""
    logits, added = row.logit_scale, row.residual_scale
    return [f"logits x {logits}"] * (logits != "1") + [f"sub-layers x {added}"] * (added != "1")


def main() -> int:
    """Judge all classes of the table (or those named) and say what changed; with --write, write table and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("classes", nargs="*", help="names of the table (default: all)")
    parser.add_argument("--write", action="store_true", help="write resources/classes.tsv and docs/classes.md")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; the tables and the page are made on the CPU")
    asked = parser.parse_args()
    DEVICE[0] = asked.device
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    listed = rows_of_classes()
    verdicts, changed = {}, []
    for name, row in listed.items():
        if asked.classes and name not in asked.classes:
            continue
        found = verdicts[row.model_type, row.causal_lm] = judged(row.model_type, row.causal_lm)
        said = f"exact ({found.path}), {found.error:.0e}" if found.row else found.why_not
        print(f"{name}: {said}{'; not ' + ', '.join(found.lacks) if found.lacks else ''}", flush=True)
        if found.path != row.path or (found.row and found.row != row.row):
            changed.append(name)
    verdicts = dict(sorted(verdicts.items(), key=lambda each: each[0][1].lower()))
    exact = {path: sum(1 for found in verdicts.values() if found.path == path) for path in PATHS}
    print(
        f"{exact['rows']} of {len(verdicts)} classes are exact with rows, {exact['plain']} more on the plain path; "
        f"transformers {transformers.__version__}"
    )
    if asked.write:
        (RESOURCES / "classes.tsv").write_text(table(verdicts), encoding="utf-8")
        DOCS.write_text(page(verdicts), encoding="utf-8")
    if changed:
        print(f"not as resources/classes.tsv says: {', '.join(changed)}")
    return 1 if changed and not asked.write else 0


if __name__ == "__main__":
    sys.exit(main())
