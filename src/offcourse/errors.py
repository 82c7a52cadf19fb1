"""The one error that a user is meant to read."""

import difflib
from collections.abc import Iterable


class OffcourseError(Exception):
    """Something outside the code is wrong: a key, a file, a model, a download, a disk.

    The message names the thing, says what was expected and what to do. Commands print it without a traceback and
    exit with `exit_code`.
    """

    exit_code = 2


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suffix for messages about an unknown `name`: the closest known name, or all of them when none is close."""
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(sorted(known))
