"""Running the part of a study that a verdict needs."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from offcourse.errors import OffcourseError
from offcourse.provenance.environment import CHECKOUT


def run(study: Path, directory: Path, targets: Sequence[Path], cores: str = "all") -> None:
    """Let Snakemake make `targets` of a study, with its line of progress on stderr.

    study: the study's file. Raises `OffcourseError` when the run does not succeed; Snakemake has said why.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", CHECKOUT / "Snakefile", "--configfile", study]
    command += ["--directory", directory, "--cores", cores, "--logger=offcourse", *targets]
    # As in the Makefile: idle threads of jobs that run side by side sleep instead of spinning.
    environment = {"OMP_WAIT_POLICY": "passive"} | os.environ
    done = subprocess.run([str(word) for word in command], stdout=sys.stderr, env=environment, check=False)
    if done.returncode:
        raise OffcourseError(
            f"the study behind the verdict did not finish; what stopped it stands above. Its file is {study}. Run the "
            "same command again when that is mended: what is computed already is kept."
        )
