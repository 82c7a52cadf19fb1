"""The facts of models that Tables 11 and 12 print, matched with the columns of models.tsv."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandera.pandas as pa

from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.data.rows import Model
from offcourse.data.tsv import read_checked
from offcourse.errors import OffcourseError

# {printed column: column of models.tsv}, by table.
COLUMNS = {
    11: {
        "n_layers": "layers",
        "n_heads": "heads",
        "total_heads": "total_heads",
        "head_size": "head_dim",
        "hidden_dim": "width",
        "mlp_size": "mlp_width",
        "layer_norm (eps)": "norm",
        "embed ()": "position_embedding",
        "attention": "attention",
        "hidden_act": "activation",
        "vocab_size": "vocabulary",
        "context_len": "context",
    },
    12: {
        "n_tokens": "tokens",
        "pt_learn_rate": "learning_rate",
        "staged_pretrain": "staged_pretraining",
        "post_trained": "post_trained",
    },
}
NUMBERS = tuple(COLUMNS)
MISSING = "-"  # printed for a fact that nobody published
NUMERIC = ("layers", "heads", "total_heads", "head_dim", "width", "mlp_width", "vocabulary", "context")
MODEL = "Model Name"


@dataclass(frozen=True)
class Fact:
    """One printed cell. printed_value: the printed fact, written as in models.tsv. value: models.tsv's fact or None."""

    table: int
    model: str
    column: str
    name: str
    printed: str
    printed_value: int | str
    value: int | str | None

    def of(self, known: Mapping[str, Any]) -> int | str | None:
        """This fact in `known` (a row of models.tsv or a study's `model.json`); None where `known` does not have it."""
        return total_heads(known) if self.name == "total_heads" else known.get(self.name)


def known_facts(known: Mapping[str, Any]) -> dict[str, Any]:
    """{name: fact} of `COLUMNS`, from a row of models.tsv or a study's `model.json`; None where `known` lacks one."""
    facts = {name: known.get(name) for columns in COLUMNS.values() for name in columns.values()}
    return facts | {"total_heads": total_heads(known)}


def text(value: int | str | None) -> str:
    """A fact as the tables print it."""
    return f"{value:,}" if isinstance(value, int) else value or MISSING


def total_heads(known: Mapping[str, Any]) -> int | None:
    """Attention heads of all layers; None where their numbers are not known."""
    layers, heads = known["layers"], known["heads"]
    return None if layers is None or heads is None else layers * heads


def read_facts(registry: Registry, resources: Path = RESOURCES) -> Iterator[Fact]:
    """Every printed cell of Tables 11 and 12.

    Raises `OffcourseError` naming the file and line of a cell that is no number where a number is printed, or of a
    model that models.tsv does not know by that name (`paper_name`).
    """
    named = {model.paper_name: model for model in registry.models.values() if model.paper_name}
    for number, columns in COLUMNS.items():
        path = Path(resources) / "paper" / f"table{number}.tsv"
        for line, row in enumerate(read_checked(path, _printed(columns)).to_dict(orient="records"), start=2):
            model = named.get(row[MODEL])
            if model is None:
                # A wrong cell takes a row out of the table, and may be the reason.
                registry.require_sound("models")
                raise OffcourseError(
                    f"{path}, line {line}, column {MODEL}: {row[MODEL]!r} is the paper_name of no model in models.tsv"
                )
            known = asdict(model) | {"total_heads": total_heads(asdict(model))}
            for column, name in columns.items():
                value = known[name]
                yield Fact(number, model.name, column, name, row[column], as_ours(name, row[column], model), value)


def _printed(columns: Mapping[str, str]) -> pa.DataFrameSchema:
    """What a printed table holds: a model's name, and numbers with separators of thousands where facts are numbers."""
    number = pa.Check.str_matches(r"^\d{1,3}(,?\d{3})*$", error="a whole number, as in 4,096")
    cells = {column: pa.Column(str, number if name in NUMERIC else None) for column, name in columns.items()}
    return pa.DataFrameSchema({MODEL: pa.Column(str), **cells}, strict=True, ordered=True)


def as_ours(name: str, printed: str, model: Model) -> int | str:
    """A printed cell in the form of models.tsv, which calls a layer norm without a mean RMSNorm."""
    if name in NUMERIC:
        return int(printed.replace(",", ""))
    if name == "learning_rate":
        return "" if printed == "-" else printed.replace(" x 10-", "e-").replace(" × 10-", "e-")
    if name == "norm" and model.architecture not in ("GPTJ", "GPTNeoX"):
        # The paper prints layer norm for every model, but these classes divide by the root mean square.
        return printed.replace("LayerNorm", "RMSNorm")
    return "" if printed == "-" else printed
