"""A process whose files cannot grow beyond a limit: what a disk that becomes full does to every library, for real."""

import subprocess
import tempfile
from pathlib import Path

from forking import environment, python

LIMIT = """
import resource, signal

def limit_files(size):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
"""


def run(code: str, folder: Path, **more) -> subprocess.CompletedProcess:
    """Run Python `code` in `folder`; after `limit_files(bytes)` a write beyond that size fails."""
    # No compiled modules are written: they are files too, and would be cut.
    variables = environment() | {"PYTHONDONTWRITEBYTECODE": "1"}
    # Elsewhere, since tests look at each file of the folder.
    with tempfile.NamedTemporaryFile("w", suffix=".py") as program:
        program.write(LIMIT + code)
        program.flush()
        command = [python(), program.name]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=variables, **more)


def files(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder, hidden ones included, with its content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
