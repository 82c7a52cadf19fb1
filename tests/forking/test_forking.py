"""A start by fork against a start of Python: what a program sees of its process, and how it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from lab import CHECKOUT

from forking import environment, python

PROGRAM = """
import json, os, sys, threading
import torch, threadpoolctl
import offcourse
threading.Thread(target=lambda: sys.stdout.write("from a thread\\n")).start()
blas = {each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"}
sys.stdout.write(json.dumps({
    "arguments": sys.argv, "folder": os.getcwd(), "name": __name__, "input": sys.stdin.read(), "first": sys.path[:2],
    "environment": dict(os.environ), "umask": os.umask(0), "package": offcourse.__file__, "group": os.getpgrp(),
    "threads": torch.get_num_threads(), "blas": sorted(blas),
}) + "\\n")
print("a message", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def started(tmp_path):
    """`started(program, text, *words, **variables)`: a program's text, run by a fork or by Python."""

    def start(program: str, text: str, *words: str, **variables: str) -> subprocess.CompletedProcess:
        (tmp_path / "program.py").write_text(text)
        (tmp_path / "said.txt").write_text("what it reads")
        known = environment() | {"PYTHONPATH": str(CHECKOUT / "src")} | variables
        with (tmp_path / "said.txt").open() as said:
            return subprocess.run(
                [program, str(tmp_path / "program.py"), *words],
                stdin=said,
                capture_output=True,
                text=True,
                cwd=tmp_path,
                env=known,
                umask=0o027,
            )

    return start


def test_a_program_sees_what_it_sees_of_a_process_of_its_own(started):
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    fork, real = (started(program, PROGRAM, "3", "two words", **threads) for program in (python(), sys.executable))
    assert fork.returncode == real.returncode == 3
    assert fork.stderr == real.stderr == "a message\n"
    (seen, by_fork), (expected, by_real) = (sorted(done.stdout.splitlines(), key=len) for done in (fork, real))
    assert seen == expected == "from a thread"
    found, wanted = json.loads(by_fork), json.loads(by_real)
    # A fork has what more imports set.
    assert {name: found["environment"].get(name) for name in wanted["environment"]} == wanted.pop("environment")
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    "text",
    [
        "raise ValueError('what was wrong')",
        "import sys\nsys.exit('a last word')",
        "import sys\nsys.exit(None)",
        "raise KeyboardInterrupt",
        "import atexit\natexit.register(print, 'at the end')\nprint('before', end='')",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    ],
)
def test_a_program_ends_as_a_process_of_its_own(started, text):
    fork, real = (started(program, text) for program in (python(), sys.executable))
    assert (fork.returncode, fork.stdout) == (real.returncode, real.stdout)
    assert fork.stderr.splitlines()[-1:] == real.stderr.splitlines()[-1:]


def test_a_module_runs_as_with_python(started):
    words = ["-m", "offcourse", "--help"]
    found = [
        subprocess.run([program, *words], capture_output=True, text=True, cwd=CHECKOUT, env=environment())
        for program in (python(), sys.executable)
    ]
    assert found[0].stdout == found[1].stdout and found[0].returncode == found[1].returncode == 0


ASK = (
    "import os, sys\nprint('preloaded' if 'snakemake.cli' in sys.modules else 'new', os.path.basename(sys.executable))"
)


def test_what_a_fork_cannot_be_is_a_real_start(started, tmp_path):
    """Another value of a variable that imports read, another version of a package, options of Python."""
    assert started(python(), ASK).stdout == "preloaded python3\n"
    assert started(python(), ASK, MPLBACKEND="svg").stdout.startswith("new")
    (tmp_path / "packages").mkdir()
    assert started(python(), ASK, PYTHONPATH=str(tmp_path / "packages")).stdout.startswith("preloaded")
    (tmp_path / "packages" / "torch.py").touch()
    assert started(python(), ASK, PYTHONPATH=str(tmp_path / "packages")).stdout.startswith("new")
    done = subprocess.run([python(), "-c", ASK], capture_output=True, text=True, env=environment())
    assert done.stdout.startswith("new")


OWN = """
import sys
print("offcourse.graph.keys" in sys.modules)
from offcourse.data.names import RESOURCES
print(RESOURCES)
"""


def test_the_package_of_this_checkout_is_imported_where_a_start_would_import_it(started, tmp_path):
    """Another checkout's package, another folder of resources, a folder beside the program: imported anew."""
    resources = str(CHECKOUT / "resources")
    patience = time.monotonic() + 60
    while started(python(), OWN).stdout != f"True\n{resources}\n":
        assert time.monotonic() < patience
    other = tmp_path / "other"
    shutil.copytree(CHECKOUT / "src", other / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    assert started(python(), OWN, PYTHONPATH=str(other / "src")).stdout == f"False\n{other / 'resources'}\n"
    assert started(python(), OWN, OFFCOURSE_RESOURCES=str(other)).stdout == f"False\n{other}\n"
    (tmp_path / "offcourse").mkdir()
    assert started(python(), OWN).stdout.startswith("False")


HUB = """
import json, os, sys
of_the_hub = {"huggingface_hub", "transformers", "tokenizers", "accelerate", "datasets"}
print(*of_the_hub & sys.modules.keys(), "snakemake.cli" in sys.modules, file=sys.stderr)
import accelerate, datasets, huggingface_hub, transformers
from huggingface_hub import constants
def seen(module):
    values = {name: value for name, value in vars(module).items() if name.isupper()}
    # The order of a set is another one in each process.
    ordered = lambda value: sorted(value) if isinstance(value, (set, frozenset)) else value
    return {name: repr(ordered(value)) for name, value in values.items()}
print(json.dumps({
    "hub": seen(constants), "sets": seen(datasets.config),
    "token": huggingface_hub.get_token(), "words": transformers.logging.get_verbosity(),
    "environment": dict(os.environ),
}))
"""


def test_the_hub_s_packages_read_their_variables_as_in_a_process_of_its_own(started, tmp_path):
    """Its address, its folder, a token and offline mode: a fork that is asked for these imports the packages anew."""
    own = {"HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_another", "HF_HUB_OFFLINE": "1"}
    own |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    fork, real = (started(program, HUB, **own) for program in (python(), sys.executable))
    assert (fork.stderr, real.stderr) == ("True\n", "False\n")
    found, wanted = json.loads(fork.stdout), json.loads(real.stdout)
    assert found["hub"]["ENDPOINT"] == "'http://127.0.0.1:9'" and found["hub"]["HF_HUB_OFFLINE"] == "True"
    assert {name: found["environment"].get(name) for name in wanted["environment"]} == wanted.pop("environment")
    assert {name: found[name] for name in wanted} == wanted


def _waiting(tmp_path, *words: str) -> tuple[subprocess.Popen, int]:
    """A program that waits for a minute, and the number of its process."""
    program = tmp_path / "wait.py"
    program.write_text("import os, sys, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen([*words, str(program)], stdout=subprocess.PIPE, text=True, env=environment())
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_the_fork(tmp_path, number):
    process, fork = _waiting(tmp_path, python())
    assert fork != process.pid
    process.send_signal(number)
    process.wait(30)
    assert process.returncode == -number
    for _ in range(100):
        if not os.path.exists(f"/proc/{fork}"):
            break
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{fork}")
