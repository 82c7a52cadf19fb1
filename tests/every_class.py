"""Every class of `transformers` with a causal language model: its row, and the engine's error on a tiny random model.

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

from offcourse.data.architectures import ARCHITECTURES, Architecture, ClassRow, name_of, rows_of_classes
from offcourse.data.names import RESOURCES
from offcourse.engine import Engine, HeadRows, ResidualRows
from offcourse.errors import OffcourseError
from offcourse.models.find import complete_row, find_row
from offcourse.models.load import LanguageModel
from offcourse.models.tiny import tiny_module

# Longer than the tiny models' windows and chunks of 16 tokens, and than two rows of them in a forest.
LONG = [0, *((7 * i) % 500 + 2 for i in range(39))]
CHUNKS = (1, 7, 1000)
LIMIT = 1e-4
DOCS = Path(__file__).parents[1] / "docs" / "classes.md"


@dataclass(frozen=True)
class Verdict:
    """What was found out about one class. error: None where the class is refused, for the reason in `why_not`."""

    row: Architecture | None
    error: float | None
    why_not: str = ""
    places: tuple[str, ...] = ()


def made(model_type: str, class_name: str) -> LanguageModel:
    """A tiny random model of a class, with the row that the finder gives it."""
    module = tiny_module(model_type, class_name, seed=1)
    return LanguageModel(module, complete_row(module, find_row(module, name_of(class_name))))


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
    return max(float((oracles.unembedded(model, state) - logits).norm() / logits.norm()) for state, logits in pairs)


def judged(model_type: str, class_name: str) -> Verdict:
    """The verdict of one class; any error that it raises is the reason why it is refused."""
    try:
        model = made(model_type, class_name)
        Engine(model)
        near = set((model.localities or {}).values())
        places = ["window"] * any(place.window for place in near) + ["chunk"] * any(place.chunk for place in near)
        error = error_of(model)
    except OffcourseError as refused:
        return Verdict(None, None, str(refused).removeprefix(f"{class_name}: "))
    except Exception as broken:
        return Verdict(None, None, f"{type(broken).__name__}: {str(broken).splitlines()[0]}")
    if not error <= LIMIT:
        return Verdict(None, None, f"the engine's logits differ from plain forwards by {error:.1g} of their size")
    return Verdict(model.architecture, error, places=tuple(places))


def table(verdicts: dict[tuple[str, str], Verdict]) -> str:
    """resources/classes.tsv of some verdicts by (model_type, class)."""
    lines = ["\t".join(field.name for field in fields(ClassRow))]
    for (model_type, class_name), found in verdicts.items():
        known = {"name": name_of(class_name), "model_type": model_type, "causal_lm": class_name}
        known |= {"error": "" if found.error is None else f"{found.error:.0e}", "why_not": found.why_not}
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
    exact = {key: found for key, found in verdicts.items() if found.row}
    chunks = f"{', '.join(map(str, CHUNKS[:-1]))} and {CHUNKS[-1]}"
    lines = [
        "# Classes of models",
        "",
        f"Offcourse runs {len(exact)} of {len(verdicts)} decoder-only classes of `transformers` "
        f"{transformers.__version__} with its engine.",
        "",
        "`make classes` makes a tiny random model of each class and finds its row by structure. It compares every",
        f"edit in every layer and head with one plain forward, in passes of {chunks} rows, with a prompt",
        "that crosses every window. A class is exact when the largest relative error of its logits in float32 is at",
        f"most {LIMIT:g}. The command writes this page and `resources/classes.tsv`, and names classes that changed.",
        "",
        "A real model is checked again when it is loaded ([engine](engine.md)). A class of `transformers` that is not",
        "listed here is found by structure at that moment. Its model is used if every check of the engine passes, and",
        "`model.json` says that the row was found.",
        "",
        "| class | `architecture` | error | particular |",
        "|---|---|---|---|",
    ]
    for (_, class_name), found in sorted(exact.items(), key=lambda each: each[0][1].lower()):
        row, own = found.row, name_of(class_name) in ARCHITECTURES
        particular = (
            ["written by hand"] * own
            + [f"layers with a {place}" for place in sorted(found.places)]
            + ["parallel"] * row.parallel
            + ["post-norms"] * bool(row.post_norms)
        )
        particular += [f"logits x {row.logit_scale}"] * (row.logit_scale != "1")
        particular += [f"sub-layers x {row.residual_scale}"] * (row.residual_scale != "1")
        particular += ["one product replaced"] * (not row.attention_interface)
        particular += ["mixture"] * (
            row.mlp_output.split(".")[-1] in ("mlp", "ffn", "block_sparse_moe", "feed_forward")
        )
        lines.append(f"| {class_name} | {name_of(class_name)} | {found.error:.0e} | {', '.join(particular)} |")
    lines += ["", "## Refused", "", "| class | why |", "|---|---|"]
    for (_, class_name), found in sorted(verdicts.items(), key=lambda each: each[0][1].lower()):
        if not found.row:
            lines.append(f"| {class_name} | {found.why_not.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Judge all classes of the table (or those named) and say what changed; with --write, write table and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("classes", nargs="*", help="names of the table (default: all)")
    parser.add_argument("--write", action="store_true", help="write resources/classes.tsv and docs/classes.md")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    listed = rows_of_classes()
    verdicts, changed = {}, []
    for name, row in listed.items():
        if asked.classes and name not in asked.classes:
            continue
        found = verdicts[row.model_type, row.causal_lm] = judged(row.model_type, row.causal_lm)
        print(f"{name}: {'exact, ' + format(found.error, '.0e') if found.row else found.why_not}", flush=True)
        if bool(found.row) == bool(row.why_not) or (found.row and found.row != row.row):
            changed.append(name)
    verdicts = dict(sorted(verdicts.items(), key=lambda each: each[0][1].lower()))
    exact = sum(1 for found in verdicts.values() if found.row)
    print(f"{exact} of {len(verdicts)} classes are exact; transformers {transformers.__version__}")
    if asked.write:
        (RESOURCES / "classes.tsv").write_text(table(verdicts), encoding="utf-8")
        DOCS.write_text(page(verdicts), encoding="utf-8")
    if changed:
        print(f"not as resources/classes.tsv says: {', '.join(changed)}")
    return 1 if changed and not asked.write else 0


if __name__ == "__main__":
    sys.exit(main())
