"""Starts of Python as forks of a process that has imported the packages once (`server`, `client`).

A test of the workflow starts Snakemake, and Snakemake starts a process for each job. Each start imports torch,
transformers, pandas and Snakemake, which takes five seconds and was most of the time of many tests. `python()` names a
program that takes Python's arguments and runs them in a fork. A fork has the environment, folder, files and signals of
a process of its own, and imports the project's own code anew unless it is this checkout's. What a fork cannot be is
started for real: see `server.refusal`.

`make smoke`, the runs under Slurm and the tests that kill or interrupt a run start every process for real.
OFFCOURSE_FORKING=no does so everywhere.
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
# `no`, or the program that a process above this one has made (`begin`).
SWITCH = "OFFCOURSE_FORKING"
# What the environment puts on the path beside Python.
COMMANDS = ("snakemake", "offcourse")
# Seconds until the server must have made its imports.
PATIENCE = 300

# What a user's environment may hold and no artefact may say; those that are really set are looked for as well.
SECRETS = {
    "HF_TOKEN": "hf_TheTokenThatNoArtefactHolds",
    "HF_ENDPOINT": "https://someone:ThePasswordThatNoArtefactHolds@hub.invalid",
}


def environment() -> dict[str, str]:
    """The environment in which tests start programs, and the server of forks."""
    return SECRETS | os.environ | {"OMP_WAIT_POLICY": "passive", "COLUMNS": "400"}


@cache
def python() -> str:
    """The program that starts Python for tests: one that forks, or Python itself if OFFCOURSE_FORKING is `no`.

    Raises `RuntimeError` if the server does not start.
    """
    wrapper = os.environ.get(SWITCH) or begin()
    if wrapper == "no":
        return sys.executable
    patience = time.monotonic() + PATIENCE
    while not (socket := Path(wrapper).with_name("socket")).exists():
        if time.monotonic() > patience:
            raise RuntimeError(f"the server of forks made no {socket} in {PATIENCE} s; {SWITCH}=no does without it")
        time.sleep(0.1)
    return wrapper


def path() -> str:
    """A user's PATH where the environment is active, with programs that fork before its own."""
    own = Path(sys.executable).parent
    return os.pathsep.join(map(str, dict.fromkeys((Path(python()).parent, own, os.environ["PATH"]))))


def begin() -> str:
    """Start a server for this process and all that it starts, without waiting for it: the program that `python` names.

    The server ends with this process, when its standard input ends.
    """
    if made := os.environ.get(SWITCH):
        return made
    folder = Path(tempfile.mkdtemp(prefix="forking-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    wrapper, socket = folder / "python3", folder / "socket"
    # Not a shell script: a shell changes the environment.
    program = f"#!{sys.executable} -IS\n" + (HERE / "client.py").read_text(encoding="utf-8")
    for name in (wrapper.name, *COMMANDS):
        (folder / name).write_text(program, encoding="utf-8")
        (folder / name).chmod(0o755)
    without = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
    command = [sys.executable, "-P", str(HERE / "server.py"), str(socket), str(wrapper)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=without)
    atexit.register(server.wait)
    atexit.register(server.stdin.close)
    os.environ[SWITCH] = str(wrapper)
    return str(wrapper)
