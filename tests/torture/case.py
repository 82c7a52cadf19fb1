"""One spoiled input: what is spoiled and how, what a user runs then, and what its message has to name."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torture import damages


@dataclass(frozen=True)
class Case:
    """One spoiled input.

    file: what is spoiled ("" for arguments). acts: what a user runs then. names: one of them is in the message.
    refused: whether the damage can be no valid input, so that some act must end with a code that is not 0.
    """

    kind: str
    name: str
    file: Path | None
    spoil: Callable[[Path], None] | None
    acts: tuple[Callable[[], None], ...]
    names: tuple[str, ...]
    refused: bool = False


def written(content: bytes) -> Callable[[Path], None]:
    """Put this content into the place of a file."""
    return lambda path: path.write_bytes(content)


def damaged(damage: damages.Damage) -> Callable[[Path], None]:
    """Put the damaged content into the place of the content."""
    return lambda path: path.write_bytes(damage(path.read_bytes()))


def folder_instead(path: Path) -> None:
    """A folder where a file should be."""
    path.unlink(missing_ok=True)
    path.mkdir()


def link_to_itself(path: Path) -> None:
    """A link that leads to no file."""
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


def gone(path: Path) -> None:
    """No file."""
    path.unlink()


PLACES = {"folder in its place": folder_instead, "link to itself": link_to_itself, "gone": gone}
# Damages of a text that leave none of it.
NOTHING_LEFT = ("empty", "zeros", "byte that is no UTF-8", "web page", *PLACES)


def verb(*words: object) -> Callable[[], None]:
    """One command of `offcourse`."""

    def act():
        from offcourse.cli import main

        sys.argv = ["offcourse", *map(str, words)]
        main()

    return act
