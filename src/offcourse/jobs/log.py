"""Where a job's messages go: its log file, and for an error that a user can mend, one clear message."""

import contextlib
import sys
import traceback
from collections.abc import Iterator

from offcourse.errors import OffcourseError


@contextlib.contextmanager
def logged(path: str) -> Iterator[None]:
    """Send stdout and stderr of the block to `path`; end the process with the message of an `OffcourseError`.

    Any other error is written with its traceback and raised on.
    """
    with open(path, "w", buffering=1, encoding="utf-8") as log:
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        except OffcourseError as error:
            print(f"offcourse: {error}", file=log)
            sys.exit(f"offcourse: {error}")
        except BaseException:
            traceback.print_exc(file=log)
            raise
