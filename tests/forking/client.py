"""The program that Snakemake, a test or a shell starts instead of Python: asks the servers for a fork and waits for it.

It is copied into the servers' folder as `python3`, which takes Python's arguments, and as commands named like a module.
Without a fork Python itself runs them.
"""

import array
import json
import os
import signal
import socket
import sys


def main(path: str, arguments: list[str]) -> None:
    mask = os.umask(0)
    os.umask(mask)
    asked = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    asked |= {"umask": mask, "group": os.getpgrp()}
    body = json.dumps(asked).encode("utf-8", "surrogateescape")
    # From the one that has imported most to the one that has imported least.
    for server in (f"{path}.own", path, f"{path}.light"):
        ask(server, body)
    os.execv(sys.executable, [sys.executable, *arguments])


def ask(path: str, body: bytes) -> None:
    """End as the fork ends that a server makes. Returns if it makes none."""
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(path)
            files = array.array("i", [0, 1, 2])
            server.sendmsg([b"%12d" % len(body)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
            server.sendall(body)
            answers = server.makefile("r")
            found = answers.readline()
        except OSError:
            found = ""
        if not found or found.startswith("no"):
            return
        child = int(found)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda which, frame: os.kill(child, which))
        status = answers.readline()
    code = os.waitstatus_to_exitcode(int(status)) if status else 1
    if code < 0:
        # Die as the fork did.
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


folder, name = os.path.split(sys.argv[0])
main(os.path.join(folder, "socket"), [*([] if name == "python3" else ["-m", name]), *sys.argv[1:]])
