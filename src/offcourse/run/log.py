"""A job's messages go to its log file; an error that a user can mend is one clear message there."""

import contextlib
import io
import sys
import traceback
from collections.abc import Iterator

from offcourse.errors import OffcourseError


@contextlib.contextmanager
def logged(path: str) -> Iterator[None]:
    """Send stdout and stderr of the block to `path`; end the process with the message of an `OffcourseError`.

    Any other error is written with its traceback and raised on.
    """
    # Unbuffered: nothing is left to be written when the file is closed, which a full disk would refuse.
    with io.TextIOWrapper(io.FileIO(path, "w"), encoding="utf-8", write_through=True) as log:
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        except OffcourseError as error:
            # The message may be about the very disk that the log is on; the terminal gets it in any case.
            with contextlib.suppress(OSError):
                print(f"offcourse: {error}", file=log)
            sys.exit(f"offcourse: {error}")
        except BaseException:
            with contextlib.suppress(OSError):
                traceback.print_exc(file=log)
            raise
