"""The check on an image without the workflow's packages: `PYTHONPATH=src python3 -m offcourse.check_gpu`."""

import argparse
import json
import sys
from pathlib import Path

from offcourse.check_gpu.check import check_gpu
from offcourse.check_gpu.page import Findings, markdown
from offcourse.errors import OffcourseError


def report(found: Findings, as_json: bool) -> int:
    """Print the page, or one JSON document; returns the exit code."""
    print(json.dumps(found.document(), indent=2) if as_json else markdown(found))
    return 1 if found.against() else 0


def main() -> int:
    """Exit code 0 for go, 1 for not yet, 2 for a machine that cannot be checked."""
    parser = argparse.ArgumentParser(prog="python3 -m offcourse.check_gpu", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(), help="where results/ is (default: here)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    try:
        return report(check_gpu(arguments.directory), arguments.json)
    except OffcourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
