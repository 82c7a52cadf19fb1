"""What a record says about the machine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import offcourse
from offcourse.provenance.environment import peak_memory


def test_peak_memory_is_that_of_the_program_itself():
    held = b"x" * 300_000_000
    assert peak_memory() > len(held)
    ask = "from offcourse.provenance.environment import peak_memory; print(peak_memory())"
    child = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert 1e6 < int(child.stdout) < len(held)


def commit(folder: Path) -> str:
    """Make a repository with one commit of all files; returns the commit's name, which differs by folder."""
    git = ["git", "-C", folder, "-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", folder.name], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def test_only_the_repository_of_the_checkout_itself_counts(tmp_path):
    checkout = tmp_path / "lab" / "offcourse"
    shutil.copytree(Path(offcourse.__file__).parent, checkout / "src" / "offcourse")
    other = commit(tmp_path / "lab")
    ask = "import json; from offcourse.provenance.environment import git_state; print(json.dumps(git_state()))"

    def state(**more: str) -> dict:
        variables = os.environ | {"PYTHONPATH": str(checkout / "src")} | more
        command = [sys.executable, "-c", ask]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
        return json.loads(done.stdout)

    assert state() == {"commit": None, "dirty": None}
    own = commit(checkout)
    assert own != other
    assert state() == {"commit": own, "dirty": False}
    (checkout / "notes.txt").write_text("beside the code")
    assert not state()["dirty"]
    module = checkout / "src" / "offcourse" / "own.py"
    module.write_text("A = 1")
    assert state()["dirty"]
    subprocess.run(["git", "-C", checkout, "add", module], check=True)
    assert state()["dirty"]
    # As in a hook of the other repository.
    assert state(GIT_DIR=str(tmp_path / "lab" / ".git"))["commit"] == own
