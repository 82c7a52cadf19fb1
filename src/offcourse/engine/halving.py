"""Repeating a pass with half as many rows and tokens when a GPU has too little memory for the pass."""

import functools
import sys
from collections.abc import Callable

import torch

from offcourse.errors import OffcourseError


def halving(run: Callable) -> Callable:
    """Let a method of an engine halve `max_rows` and `max_tokens` and begin again when the GPU's memory is full.

    The returned result comes from passes of one size. Later calls keep the smaller sizes, which the job's records name.
    Raises `OffcourseError` when one row does not fit.
    """

    @functools.wraps(run)
    def again(engine, *args, **kwargs):
        while True:
            try:
                return run(engine, *args, **kwargs)
            except torch.OutOfMemoryError as error:
                reason = str(error).splitlines()[0]
            # Outside the handler, since the caught error keeps the tensors of the pass alive.
            if engine.max_rows == engine.max_tokens == 1:
                raise OffcourseError(
                    f"the GPU has no memory left for a pass of one row ({reason}). Give the job more or larger cards."
                )
            engine.max_rows, engine.max_tokens = max(1, engine.max_rows // 2), max(1, engine.max_tokens // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            print(
                f"The GPU has no memory left for a pass ({reason}). From here on passes have at most {engine.max_rows} "
                f"rows and {engine.max_tokens} tokens of prompts; numerics.max_rows sets both.",
                file=sys.stderr,
            )

    return again
