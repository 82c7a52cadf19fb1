"""Checks of a word list's cells: no quotes that a spreadsheet added, no invisible characters, Unicode normal form NFC.

A cell with such a fault looks right but has other tokens than the word, and so another target. A list in another normal
form is refused and not converted, so that a run uses the list on disk byte for byte.
"""

import shlex
import unicodedata

# Letters and marks that show nothing, though Unicode counts them among the visible categories.
BLANK = {
    *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
    *range(0x180B, 0x1810),
    *range(0xFE00, 0xFE10),
    *range(0xE0100, 0xE01F0),
}
# Unicode categories of characters that show nothing or a space. The one space allowed in a cell is U+0020.
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs")
TO_NFC = (
    'python -c "import pathlib, sys, unicodedata as u; p = pathlib.Path(sys.argv[1]); '
    "p.write_bytes(u.normalize('NFC', p.read_bytes().decode()).encode())\""
)


def problem(cell: str, path: str) -> str:
    """The rest of a message that begins "the entry in column ...": what is wrong and what to do. "" for a good cell.

    path: the file, named in the command that repairs it.
    """
    if not cell.strip():
        return "is empty"
    for place, sign in enumerate(cell, start=1):
        if sign != " " and (unicodedata.category(sign) in UNSEEN or ord(sign) in BLANK):
            name = unicodedata.name(sign, "no name")
            return (
                f"has an invisible character as its sign number {place}: U+{ord(sign):04X} ({name}) in {cell!a}. "
                "Remove it, or put a plain space where it stands for one"
            )
    if cell != cell.strip():
        return f"has a space around it: {cell!r}"
    if cell.startswith('"') or cell.endswith('"'):
        return (
            f"has a double quote at its edge: {cell!r}. Spreadsheets put cells in quotes when they save them, and the "
            "quotes would be read as part of the word. Remove them"
        )
    if not unicodedata.is_normalized("NFC", cell):
        return (
            f"is not in Unicode's normal form NFC (a letter and its accent are stored as two signs): {cell!a}. The "
            f"whole file is brought into it by: {TO_NFC} {shlex.quote(path)}"
        )
    return ""


def same_word(cell: str) -> str:
    """A key that two cells share if they differ in normal form only (NFKC: also ligatures and full-width letters)."""
    return unicodedata.normalize("NFKC", cell)
