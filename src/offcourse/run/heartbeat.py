"""A line in a job's log each half minute, so that a step at work is never silent for long."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence

PAUSE = 30


@contextlib.contextmanager
def heartbeat(what: str, before: Sequence[float], left: int, pause: float = PAUSE) -> Iterator[None]:
    """While the block runs, say every `pause` seconds on stderr how long it has run, and an estimate.

    before: seconds of the blocks like this one that are done; left: how many come after it.
    """
    ended, began = threading.Event(), time.monotonic()
    stream = sys.stderr  # the job's log, while the job runs

    def tell() -> None:
        while not ended.wait(pause):
            print(told(what, time.monotonic() - began, before, left), file=stream, flush=True)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def told(what: str, passed: float, before: Sequence[float], left: int) -> str:
    """One line: `what` has run for `passed` seconds, and how long the job may still take."""
    line = f"{what}: at work for {passed:.0f} s"
    if not before:
        return f"{line}, the first of {left + 1}" if left else line
    each = sum(before) / len(before)
    return f"{line}, about {max(each - passed, 0) + left * each:.0f} s left for this and {left} more"
