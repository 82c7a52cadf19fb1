"""A job's log file: it takes all messages, and an `OffcourseError` as one message without a traceback."""

import contextlib
import io
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from offcourse.errors import OffcourseError

# A path of results, downloads or prepared models below the working folder.
_PATH = re.compile(r"(?<![\w./~-])(?:[\w.-]+/)*(?:results|resources/downloads)/")


@contextlib.contextmanager
def logged(path: str) -> Iterator[None]:
    """Send stdout and stderr of the block to `path`; end the process with the message of an `OffcourseError`.

    Any other error is written with its traceback and raised on.
    """
    # Unbuffered, since a full disk could refuse what is left to be written when the file is closed.
    with io.TextIOWrapper(io.FileIO(path, "w"), encoding="utf-8", write_through=True) as log:
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        except OffcourseError as error:
            message = f"offcourse: {_placed(str(error))}"
            # The disk of the log may be the one that failed; the terminal gets the message in any case.
            with contextlib.suppress(OSError):
                print(message, file=log)
            sys.exit(message)
        except BaseException:
            with contextlib.suppress(OSError):
                traceback.print_exc(file=log)
            raise


def _placed(message: str) -> str:
    """A message that says where its paths are: with `--directory` that is not the folder that the reader stands in."""
    return f"{message} (Paths are below {Path.cwd()}.)" if _PATH.search(message) else message
