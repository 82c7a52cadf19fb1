"""Cards (GPUs) of this machine, handed to its jobs: no card has two jobs of the same user at a time.

A job that is given cards holds the lock file of each until it ends. The locks are the kernel's, so that a job that is
killed holds nothing. On a cluster Slurm hands out cards, and nothing here is used but `require_usable`.
"""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from offcourse.errors import OffcourseError

VISIBLE = "CUDA_VISIBLE_DEVICES"
# If this variable is "allow", a job that was given cards which torch cannot use runs on the processors.
WITHOUT_CARD = "OFFCOURSE_WITHOUT_CARD"
QUERY = ("nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits")
PAUSE = 1.0  # seconds between two looks at the locks
TOLD = 60.0  # seconds between two messages of a job that waits


@dataclass(frozen=True)
class Card:
    """One card. name: its UUID, which is unique among all machines. memory: bytes."""

    name: str
    memory: float


def cards_here() -> list[Card]:
    """The cards of this machine that CUDA_VISIBLE_DEVICES leaves visible; none without NVIDIA's driver.

    Raises `OffcourseError` when the driver's program gives no list of cards, or CUDA_VISIBLE_DEVICES names a card that
    is not on the list.
    """
    asked = os.environ.get(VISIBLE)
    if not shutil.which(QUERY[0]) or (asked is not None and asked.strip() in ("", "-1")):
        return []
    done = subprocess.run(QUERY, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    said = (done.stdout + done.stderr).strip()
    if done.returncode:
        if "No devices" in said:
            return []
        raise OffcourseError(
            f"{QUERY[0]} lists no cards ({(said or 'no message').splitlines()[0]}): the driver of the GPUs is damaged, "
            f"or was replaced without a restart. Restart the machine, or set {VISIBLE} to nothing to run without GPUs."
        )
    try:
        rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
        cards = {index: Card(name, float(mebibytes) * 2**20) for index, name, mebibytes in rows}
    except ValueError as error:
        raise OffcourseError(
            f"{' '.join(QUERY)} says {done.stdout.strip()!r} instead of a number, a UUID and MiB for each GPU. Set "
            f"{VISIBLE} to nothing to run without GPUs."
        ) from error
    return list(cards.values()) if asked is None else [_named(part.strip(), cards) for part in asked.split(",")]


def _named(part: str, cards: dict[str, Card]) -> Card:
    """The card that one entry of CUDA_VISIBLE_DEVICES names: by its number, or by the beginning of its UUID."""
    found = [cards[part]] if part in cards else [card for card in cards.values() if part and card.name.startswith(part)]
    if len(found) != 1:
        listed = ", ".join(f"{index} ({card.name})" for index, card in cards.items())
        raise OffcourseError(
            f"{VISIBLE} names {part!r}, which is not one GPU of this machine; {QUERY[0]} lists {listed or 'none'}. "
            "Correct or unset it."
        )
    return found[0]


def locks_folder() -> Path:
    """The folder of the user's lock files of cards."""
    return Path(tempfile.gettempdir()) / f"offcourse-cards-{os.getuid()}"


@contextlib.contextmanager
def held(count: int, cards: Sequence[Card], folder: Path | None = None) -> Iterator[None]:
    """Hold `count` of `cards` while the block runs, and show CUDA these and no others; wait until so many are free.

    All of them are taken at once or none, and who waits first is served first, so that no two jobs wait for each other
    and a job that needs several cards is not passed by for ever. folder: of the lock files.

    Raises `OffcourseError` when there are fewer cards than `count`.
    """
    if not count:
        yield
        return
    if count > len(cards):
        raise OffcourseError(
            f"this job needs {count} cards, and {len(cards)} are there now. Run again: the workflow counts them anew."
        )
    folder = folder or locks_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Only a lock of the kernel: the library's fallback is a file that a killed job would leave behind.
    with FileLock(folder / "queue.lock", thread_local=False, fallback_to_soft=False):
        locks = _wait(count, cards, folder)
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = ",".join(locks)
    print(f"cards of this job: {', '.join(locks)}", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before
        for lock in locks.values():
            lock.release()


def _wait(count: int, cards: Sequence[Card], folder: Path) -> dict[str, FileLock]:
    """{name: acquired lock} of `count` cards."""
    told = -TOLD
    while True:
        locks: dict[str, FileLock] = {}
        for card in cards:
            path = folder / f"{card.name}.lock"
            lock = FileLock(path, timeout=0, thread_local=False, fallback_to_soft=False, on_acquired=_sign)
            with contextlib.suppress(Timeout):
                lock.acquire()
                locks[card.name] = lock
            if len(locks) == count:
                return locks
        for lock in locks.values():
            lock.release()
        if time.monotonic() - told >= TOLD:
            told = time.monotonic()
            busy = [f"{card.name} ({_holder(folder, card)})" for card in cards if card.name not in locks]
            print(f"waiting for {count} of {len(cards)} cards; at work: {', '.join(busy)}", file=sys.stderr, flush=True)
        time.sleep(PAUSE)


def _sign(descriptor: int) -> None:
    """Write the holder into the lock file."""
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())


def _holder(folder: Path, card: Card) -> str:
    with contextlib.suppress(OSError):
        return (folder / f"{card.name}.lock").read_text(encoding="utf-8").strip() or "just started"
    return "unknown"


def require_usable(count: int) -> None:
    """Raise `OffcourseError` with torch's reason unless torch can use `count` cards.

    torch would say no more than a warning, and the model would run on the processors for days.
    """
    if not count or os.environ.get(WITHOUT_CARD) == "allow":
        return
    import torch

    try:
        torch.cuda.init()
        found = torch.cuda.device_count()
        if found >= count:
            return
        reason = (
            f"it sees {found} of the {count} cards that this job was given ({VISIBLE}={os.environ.get(VISIBLE, '')})."
        )
    except (RuntimeError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".") + "."
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    raise OffcourseError(
        f"torch {torch.__version__} ({built}) cannot use the GPU{'s' * (count != 1)} of this job: {reason} {_driver()}"
        "Update the driver, or install a torch that is built for it (https://pytorch.org/get-started/locally); "
        f"`offcourse check-gpu` tells whether it works. {WITHOUT_CARD}=allow runs the job on the processors."
    )


def _driver() -> str:
    """A sentence with the version of the driver, where its program says it."""
    if not shutil.which(QUERY[0]):
        return ""
    words = (QUERY[0], "--query-gpu=driver_version", "--format=csv,noheader")
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    version = (done.stdout.splitlines() or [""])[0].strip()
    return f"The driver is version {version}. " if not done.returncode and version else ""
