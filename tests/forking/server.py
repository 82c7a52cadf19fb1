"""The process that forks: imports the packages once, then runs scripts and modules for its clients in forks of itself.

python -P server.py SOCKET WRAPPER. SOCKET appears when it is ready, and it ends when its standard input does. WRAPPER
is the program that forks find as `sys.executable`, so that what they start is forked too.

It is three processes. One has imported all packages and listens at SOCKET. Another one has also imported the package of
this checkout and listens at SOCKET.own, for starts that would import that from this checkout. The third one has not
imported the packages of the hub, which read variables of the hub meanwhile, and listens at SOCKET.light: a fork of it
imports them with its own values of these variables.
"""

import array
import atexit
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

# Modules of the lock's packages that the workflow's processes use and that take most of a start's time.
PRELOADED = Path(__file__).with_name("preloaded.txt").read_text(encoding="utf-8").split()
# Where the package of this checkout is, and the variables that its modules read while they are imported.
SOURCE = Path(__file__).resolve().parents[2] / "src"
PACKAGE = "offcourse"
READ_BY_PACKAGE = ("OFFCOURSE_RESOURCES",)
# Packages that read variables of the hub while they are imported, and these variables, by their beginnings.
OF_THE_HUB = ("huggingface_hub", "transformers", "tokenizers", "accelerate", "datasets")
READ_BY_THEM = ("HF_", "HUGGINGFACE", "TRANSFORMERS", "TOKENIZERS", "ACCELERATE", "DATASETS")
# Variables that packages read while they are imported: a fork needs the server's own values.
READ_EARLY = (
    *READ_BY_THEM, "PYTHON", "LC_", "LANG", "LD_", "TORCH", "PYTORCH", "CUDA", "OMP_", "MKL_", "OPENBLAS", "NUMEXPR",
    "KMP_", "GOMP", "MPL", "XDG_", "HOME", "TZ", "SNAKEMAKE", "ARROW", "NO_COLOR", "FORCE_COLOR", "TERM",
)  # fmt: skip
# Numbers of threads, which Snakemake gives each job: a fork sets them (`set_threads`).
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
NOT_READ = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", *THREADS)


class Watched(type(os.environ)):
    """An environment that knows which variables were read."""

    read: set[str] = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)


def early(environment: dict[str, str], light: bool) -> dict[str, str]:
    """The variables of an environment that packages read while they are imported.

    light: without the variables that only the hub's packages read.
    """
    late = READ_BY_THEM if light else ()
    read = {name for name in environment if name.startswith(READ_EARLY) and not name.startswith(late)}
    return {name: environment[name] for name in read if name not in NOT_READ}


def refusal(asked: dict, own: dict[str, str], set_then: dict[str, str], loaded: set[str], light: bool = False) -> str:
    """Why a server cannot make a start, or "". If no server can, the start is a real one.

    own: the server's variables before its imports, set_then: those that its imports set. loaded: what it has imported.
    light: whether the packages of the hub are not among it.

    It cannot make a start with options of Python beside `-m`, with another value of a variable that an import reads, or
    with a folder on Python's path that holds another version of an imported package.
    """
    arguments = asked["arguments"]
    if not arguments or (arguments[0].startswith("-") and not (arguments[0] == "-m" and len(arguments) > 1)):
        return "options of Python"
    own, found = early(own, light), early(asked["environment"], light)
    changed = {name for name in own.keys() | found.keys() if own.get(name) != found.get(name)}
    # What a fork starts has the variables that imports set.
    if changed := {name for name in changed if name not in set_then or found.get(name) != set_then[name]}:
        return f"other values of {', '.join(sorted(changed))}"
    if PACKAGE in loaded:
        if changed := [name for name in READ_BY_PACKAGE if own.get(name) != asked["environment"].get(name)]:
            return f"other values of {', '.join(changed)}"
        # Python looks there before it looks at its path.
        first = asked["folder"] if arguments[0] == "-m" else os.path.dirname(os.path.realpath(arguments[0]))
        if os.path.exists(os.path.join(first, PACKAGE)):
            return f"{first} holds {PACKAGE}"
    for folder in filter(None, asked["environment"].get("PYTHONPATH", "").split(os.pathsep)):
        names = {name.split(".")[0] for name in os.listdir(folder)} if os.path.isdir(folder) else set()
        known = loaded - {PACKAGE} if folder == str(SOURCE) else loaded
        if shadowed := names & (known | {"sitecustomize", "usercustomize"}):
            return f"{folder} holds {', '.join(sorted(shadowed))}"
    return ""


def set_threads() -> None:
    """Use as many threads for products of matrices as a process that has these variables when it starts."""
    # Not at the top: the server looks at its variables before it imports them.
    import threadpoolctl
    import torch

    for names, kind in ((THREADS[:1], "openmp"), (THREADS[1:2] + THREADS[:1], "blas")):
        if asked := [os.environ[name] for name in names if os.environ.get(name)]:
            threadpoolctl.threadpool_limits(int(asked[0]), kind)
    if os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def run(asked: dict, files: list[int], wrapper: str) -> int:
    """Become the process that was asked for, and run it: its exit code. Called in the fork."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    with contextlib.suppress(OSError):
        os.setpgid(0, asked["group"])
    os.chdir(asked["folder"])
    os.umask(asked["umask"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    set_threads()
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    arguments = asked["arguments"]
    module = arguments[0] == "-m"
    paths = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    first = os.getcwd() if module else os.path.dirname(os.path.realpath(arguments[0]))
    sys.path[:] = [first, *paths, *sys.path]
    for name in (PACKAGE, f"{PACKAGE}.store.fingerprint"):
        if name in sys.modules:
            sys.modules[name].STARTED = time.time()
    sys.executable = wrapper
    sys.argv = arguments[1:] if module else arguments
    importlib.invalidate_caches()
    try:
        if module:
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def ended(asked: dict, files: list[int], wrapper: str) -> None:
    """`run`, and end this process as Python ends: with its threads, its exit functions and what is still unwritten."""
    code = 1
    try:
        code = run(asked, files, wrapper)
        threading._shutdown()
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code & 255)


def received(connection: socket.socket) -> tuple[dict, list[int]]:
    """What a client asks for, and its standard files."""
    files = array.array("i")
    data, ancillary, *_ = connection.recvmsg(12, socket.CMSG_LEN(3 * files.itemsize))
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            files.frombytes(content)
    body = b""
    while len(body) < int(data):
        body += connection.recv(int(data) - len(body))
    return json.loads(body.decode("utf-8", "surrogateescape")), list(files)


def load(of_the_hub: bool) -> None:
    """Import the packages of the hub, or all others, which must not read its variables."""
    for name in PRELOADED:
        if (name.split(".")[0] in OF_THE_HUB) == of_the_hub:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def load_without_the_hub() -> None:
    """`load` what reads no variable of the hub. Raises `RuntimeError` if that is not so."""
    # Not there, so that who copies the whole environment does not read them either.
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(READ_BY_THEM)}
    kind, os.environ.__class__ = os.environ.__class__, Watched
    load(of_the_hub=False)
    os.environ.__class__ = kind
    os.environ.update(kept)
    read = [name for name in map(str, Watched.read) if name.startswith(READ_BY_THEM)]
    if early_ones := [*read, *sorted(sys.modules.keys() & set(OF_THE_HUB))]:
        raise RuntimeError(f"read or imported before the packages of the hub: {', '.join(early_ones)}")


def has_own_package() -> bool:
    """Whether this environment imports the package from this checkout."""
    found = importlib.util.find_spec(PACKAGE)
    return found is not None and Path(found.origin).resolve().is_relative_to(SOURCE)


def load_own_package() -> None:
    """Import all modules of this checkout's package."""
    for found in pkgutil.walk_packages([str(SOURCE / PACKAGE)], f"{PACKAGE}."):
        if not found.name.endswith(".__main__"):
            importlib.import_module(found.name)
    gc.collect()
    gc.freeze()


def listening_at(path: str) -> socket.socket:
    """A socket at a path that appears when clients can ask."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{path}.part")
    listening.listen(64)
    os.rename(f"{path}.part", path)
    return listening


def start(path: str, wrapper: str) -> None:
    """Become the processes that answer clients, until standard input ends."""
    own = dict(os.environ)

    def with_own_package() -> None:
        load_own_package()
        serve(listening_at(f"{path}.own"), own, wrapper)

    def with_the_hub() -> None:
        load(of_the_hub=True)
        serve_and_go_on(listening_at(path), with_own_package if has_own_package() else None)

    def serve_and_go_on(listening: socket.socket, further: Callable[[], None] | None, light: bool = False) -> None:
        """Serve in this process, and do what comes after in a fork."""
        other = os.fork() if further else None
        if other == 0:
            listening.close()
            further()
            return
        serve(listening, own, wrapper, light)
        if other:
            os.waitpid(other, 0)

    load_without_the_hub()
    serve_and_go_on(listening_at(f"{path}.light"), with_the_hub, light=True)
    os._exit(0)


def serve(listening: socket.socket, own: dict[str, str], wrapper: str, light: bool = False) -> None:
    """Answer clients until standard input ends. own, light: as in `refusal`."""
    set_then = {name: value for name, value in os.environ.items() if own.get(name) != value}
    loaded = {name.split(".")[0] for name in sys.modules}
    waiting = selectors.DefaultSelector()
    waiting.register(listening, selectors.EVENT_READ, "client")
    waiting.register(sys.stdin.fileno(), selectors.EVENT_READ, "end")
    children: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for key, _ in waiting.select():
            if key.data == "end":
                return
            if key.data == "client":
                connection, _ = listening.accept()
                asked, files = received(connection)
                if refusal(asked, own, set_then, loaded, light):
                    connection.sendall(b"no\n")
                    connection.close()
                else:
                    child = os.fork()
                    if not child:
                        listening.close()
                        waiting.close()
                        connection.close()
                        for file, (_, other) in children.items():
                            os.close(file)
                            other.close()
                        asked["environment"] |= set_then
                        ended(asked, files, wrapper)
                    connection.sendall(b"%d\n" % child)
                    file = os.pidfd_open(child)
                    children[file] = (child, connection)
                    waiting.register(file, selectors.EVENT_READ, "child")
                    waiting.register(connection, selectors.EVENT_READ, file)
                for file in files:
                    os.close(file)
            elif key.data == "child":
                child, connection = children.pop(key.fd)
                status = os.waitpid(child, 0)[1]
                waiting.unregister(key.fd)
                os.close(key.fd)
                with contextlib.suppress(KeyError):
                    waiting.unregister(connection)
                with contextlib.suppress(OSError):
                    connection.sendall(b"%d\n" % status)
                connection.close()
            else:
                # The client was killed, so its fork is.
                waiting.unregister(key.fileobj)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(children[key.data][0], signal.SIGKILL)


if __name__ == "__main__":
    start(*sys.argv[1:])
