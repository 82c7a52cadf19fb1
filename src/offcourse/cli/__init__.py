"""The `offcourse` command: one module per group of verbs."""

import sys

from offcourse.cli import audit, compare, gpu, models, plan  # noqa: F401 - importing a module adds its verbs
from offcourse.cli.app import app
from offcourse.errors import OffcourseError


def main() -> None:
    """Run the command. An `OffcourseError` becomes one message on stderr and exit code 2."""
    try:
        app()
    except OffcourseError as error:
        print(f"offcourse: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
