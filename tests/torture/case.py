"""One spoiled input: what is spoiled and how, what a user runs then, what its message has to name, and how it ended."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torture import damages
from torture.world import Outcome, World, run, spoiled


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


def judged(world: World, case: Case) -> Outcome:
    """Run a case, and say what is wrong with how it ended."""
    outcome = Outcome(case.kind, case.name)
    codes = []
    if case.file is None:
        ends = [run(world, act) for act in case.acts]
    else:
        with spoiled(case.file, case.spoil):
            ends = [run(world, act) for act in case.acts]
    for code, out, err, seconds in ends:
        codes.append(code)
        outcome.seconds = max(outcome.seconds, seconds)
        outcome.faults += _faults(case, code, out, err)
        if code and not outcome.said:
            outcome.said = (err or out).strip()[:2000]
    outcome.code = next((code for code in codes if code not in (0, 1, 2)), max(codes))
    if case.refused and not any(codes):
        outcome.faults.append("it is accepted")
    if world.canary.exists():
        world.canary.unlink()
        outcome.faults.append("something in it was executed")
    return outcome


def _faults(case: Case, code: int, out: str, err: str) -> list[str]:
    if code == -1:
        return ["it hangs"]
    if code == -2:
        return ["the process dies"]
    said = err + out
    if "Traceback (most recent call last)" in said or code not in (0, 1, 2):
        return [f"a traceback: {(err.strip() or 'nothing said').splitlines()[-1][:300]}"]
    found = []
    if code == 2:
        if len(re.findall(r"^offcourse: |^╭─ Error ", err, re.MULTILINE)) != 1:
            found.append(f"not one message: {err[:300]!r}")
        if not any(name in err for name in case.names):
            found.append(f"a message that names none of {', '.join(case.names)}: {err[:300]!r}")
        if len(err) > 4000:
            found.append(f"a message of {len(err)} signs")
    if re.search(r"[\x00-\x08\x0b-\x1a\x1c-\x1f]|\x1b(?!\[[0-9;]*m)", said):
        found.append(f"control characters on the terminal: {said[:300]!r}")
    return found
