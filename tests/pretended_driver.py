"""A program `nvidia-smi` that lists what it is told to, where no GPU is."""

import os
from pathlib import Path


def driver(folder: Path, *lines: str, status: int = 0) -> Path:
    """The folder of a program `nvidia-smi` that prints `lines` and ends with `status`."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + f"\nEND\nexit {status}\n")
    program.chmod(0o755)
    return folder


def pretend(folder: Path, monkeypatch, *lines: str, status: int = 0) -> None:
    """Put such a program first on the path."""
    folder = driver(folder / "driver", *lines, status=status)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
