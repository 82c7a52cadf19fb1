"""Making a product (a table or a figure): the declared function is called with the view of a results folder."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from offcourse.analysis.view import Results
from offcourse.graph.catalogue import Figure
from offcourse.graph.product import Product
from offcourse.graph.products import DRAWN_BY

if TYPE_CHECKING:
    from offcourse.figures import style


def code_of(product: Product) -> Callable:
    """The function that the declaration of a product names as `target`."""
    module, _, function = product.target.partition(":")
    return getattr(importlib.import_module(module), function)


def picture(results: Results, shown: Figure) -> "style.Page":
    """One picture of a results folder as a `Page`, which is not drawn yet."""
    product = DRAWN_BY[shown["figure"]]
    return code_of(product)(product.view(results, shown["model"] if product.per_model else None), shown)


def draw(results: Results, shown: Figure) -> None:
    """Draw one picture and write its three files (SVG, PNG, parquet)."""
    # Imported here, since the drawing packages take as long to import as all else of a step's job, which draws nothing.
    from offcourse.figures import style

    style.draw(picture(results, shown), results.folder / Path(shown["svg"]).with_suffix(""))


def make(product: Product, results: Results, shown: Sequence[Figure] = ()) -> None:
    """Write a table of a results folder, or draw the pictures `shown` of a figure."""
    if product.figures:
        for each in shown:
            draw(results, each)
    else:
        code_of(product)(product.view(results), results.folder / "tables")
