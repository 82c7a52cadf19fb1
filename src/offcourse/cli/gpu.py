"""The verb `check-gpu`, which checks a machine's GPU before a study runs there."""

from pathlib import Path

import typer

from offcourse.cli.app import AsJson, Directory, app


@app.command(name="check-gpu")
def check_gpu(directory: Directory = Path(), as_json: AsJson = False) -> None:
    """Check this machine's GPU with random models at the paper's widths: exactness, memory, speed, rates for `plan`.

    Nothing is downloaded. Writes results/check-gpu.md, check-gpu.json and rates.json. Exit code 0: go; 1: not yet.
    Without a GPU narrow models run on the CPU. On an image without the workflow's packages:
    PYTHONPATH=src python3 -m offcourse.check_gpu.
    """
    from offcourse.check_gpu.__main__ import report
    from offcourse.check_gpu.check import check_gpu as check

    raise typer.Exit(report(check(directory), as_json))
