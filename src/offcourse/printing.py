"""Printing a table of a verb: as wide as the terminal, or a line a row where the output is read by a program."""

import sys

from rich.console import Console
from rich.table import Table

# Wider than any row: a line that is broken or cut cannot be searched.
_PIPED = 100_000


def print_table(table: Table) -> None:
    """Print a table of `rich`. In a pipe or a file every row is one line, whole and without colours."""
    if sys.stdout.isatty():
        Console().print(table)
        return
    console = Console(width=_PIPED, color_system=None)
    with console.capture() as text:
        console.print(table)
    print("\n".join(line.rstrip() for line in text.get().splitlines()))
