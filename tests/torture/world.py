"""A finished smoke study, tables and a model folder of one process, which cases spoil and which is put right after."""

import contextlib
import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from offcourse.errors import OffcourseError

# A case that takes longer hangs.
SECONDS = 20
MEMORY = 8 << 30


@dataclass(frozen=True)
class World:
    """Where things are. canary: a file that spoiled input would make if any of its code or markup were run."""

    folder: Path

    @property
    def lab(self) -> Path:
        """Where the smoke study has run."""
        return self.folder / "lab"

    @property
    def resources(self) -> Path:
        """The tracked tables."""
        return self.folder / "resources"

    @property
    def study(self) -> Path:
        """The configuration."""
        return self.folder / "study.yaml"

    @property
    def model(self) -> Path:
        """A model folder that a user has."""
        return self.folder / "model"

    @property
    def canary(self) -> Path:
        """What nothing makes."""
        return self.folder / "executed"


@dataclass
class Outcome:
    """What became of a case. code: of the exit; -1 when it hung, -2 when the process died."""

    kind: str
    name: str
    code: int = 0
    said: str = ""
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def run(world: World, act: Callable[[], None]) -> tuple[int, str, str, float]:
    """Exit code, stdout, stderr and seconds of `act` in a forked child, as the `offcourse` command ends with them."""
    with tempfile.TemporaryDirectory() as scratch:
        out, err = Path(scratch) / "out", Path(scratch) / "err"
        started = time.monotonic()
        child = os.fork()
        if not child:
            _in_child(out, err, act)
        code = _wait(child, started + SECONDS)
        took = time.monotonic() - started
        said, wrong = (path.read_text("utf-8", "replace") if path.exists() else "" for path in (out, err))
    return code, said, wrong, took


def _wait(child: int, until: float) -> int:
    while time.monotonic() < until:
        ended, state = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(state) if os.WIFEXITED(state) else -2
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


def _in_child(out: Path, err: Path, act: Callable[[], None]) -> None:
    code: object = 70
    try:
        for path, number in ((out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", encoding="utf-8") for number in (1, 2))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        code = 0
        act()
    except OffcourseError as error:
        print(f"offcourse: {error}", file=sys.stderr)
        code = error.exit_code
    except SystemExit as error:
        code = error.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 70
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def spoiled(path: Path, spoil: Callable[[Path], None]) -> Iterator[None]:
    """The block with a file as `spoil` leaves it; after it the file, and its time, are as before."""
    kept = path.read_bytes() if path.is_file() else None
    times = path.stat() if kept is not None else None
    spoil(path)
    try:
        yield
    finally:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if kept is not None:
            path.write_bytes(kept)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def lay_out(study: Path, checkout: Path, folder: Path) -> World:
    """A world in an empty folder, from a folder where the smoke study has run."""
    world = World(folder)
    shutil.copytree(study, world.lab, copy_function=shutil.copy2, symlinks=True)
    shutil.copytree(checkout / "resources", world.resources, ignore=shutil.ignore_patterns("downloads"))
    shutil.copyfile(checkout / "studies" / "smoke.yaml", world.study)
    shutil.copytree(
        world.lab / "resources" / "downloads" / "models" / "tiny-llama",
        world.model,
        ignore=shutil.ignore_patterns("manifest.json"),
    )
    return world


def as_dict(outcome: Outcome) -> str:
    """A line of JSON."""
    return json.dumps(outcome.__dict__)
