"""The `offcourse` command: one module per group of verbs."""

import gc
import sys

# Importing a module adds its verbs.
from offcourse.cli import add, audit, compare, gpu, judge, models, plan, share  # noqa: F401
from offcourse.cli.app import app
from offcourse.errors import OffcourseError


def main() -> None:
    """Run the command. An `OffcourseError` becomes one message on stderr and exit code 2."""
    # Imports make hundreds of thousands of objects that stay. Python's collector would search all of them for unused
    # ones again and again, which takes a tenth of a verb's time.
    gc.set_threshold(100_000, 50, 1000)
    try:
        _require_text(sys.argv[1:])
        app()
    except OffcourseError as error:
        print(f"offcourse: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _require_text(words: list[str]) -> None:
    """Raise `OffcourseError` for an argument with bytes that are not UTF-8, which no name of a row has."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise OffcourseError(
                f"the command has the argument {word!a}, which is not UTF-8 text. Type it again, or rename the file."
            ) from None
