"""The one error that a user is meant to read."""

import difflib
import re
from collections.abc import Iterable


class OffcourseError(Exception):
    """Something outside the code is wrong: a key, a file, a model, a download, a disk.

    The message names the thing, says what was expected and what to do. Commands print it without a traceback and
    exit with `exit_code`.
    """

    exit_code = 2

    def __init__(self, message: str = ""):
        super().__init__(readable(str(message)))


# Signs that a terminal would obey.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Longer than a path or a name is.
_LONG = re.compile(r"\S{1000,}")


def readable(message: str) -> str:
    """A message that may quote anything: signs that a terminal obeys are written out, what has no end is cut."""
    message = _CONTROL.sub(lambda sign: sign[0].encode("unicode_escape").decode(), message)
    return _LONG.sub(lambda run: f"{run[0][:200]}... ({len(run[0])} signs)", message)


def listed(names: Iterable[str]) -> str:
    """Names with commas between them; a name that has a comma itself stands in quotes."""
    return ", ".join(repr(name) if "," in name else name for name in map(str, names))


def _known(known: list[str], most: int = 60) -> str:
    """Names in order, the first ones only when there are many."""
    shown = sorted(map(str, known))
    return listed(shown[:most]) + (f" and {len(shown) - most} others" if len(shown) > most else "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suffix for messages about an unknown `name`: the closest known name, or all of them when none is close."""
    known = list(known)
    # CAA is meant by "caa".
    folded = {each.casefold(): each for each in reversed(known)}
    close = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    return f"known: {_known(known)}"
