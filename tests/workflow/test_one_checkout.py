"""The workflow of one checkout with the package of another: both paths are named, and nothing runs."""

import os
import subprocess
import sys
import sysconfig

import pytest
from lab import CHECKOUT, SMOKE, Lab, copy_checkout

from offcourse.checkout import checkout_of, require_own
from offcourse.errors import OffcourseError


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another checkout."""
    return copy_checkout(tmp_path_factory.mktemp("other") / "checkout")


class Mixed(Lab):
    """The workflow and the working directory of `checkout`, with the package of this one."""

    @property
    def environment(self):
        return super().environment | {"PYTHONPATH": str(CHECKOUT / "src")}


def test_snakemake_refuses_the_package_of_another_checkout(other, tmp_path):
    done = Mixed(tmp_path / "run", checkout=other).snakemake("--dry-run")
    said = [line for line in done.stderr.splitlines() if line.startswith("offcourse: ")]
    assert done.returncode == 1 and len(said) == 1, done.stderr
    assert f"the workflow of {other}," in said[0] and f"the package from {CHECKOUT / 'src' / 'offcourse'}." in said[0]
    assert f"`make install` in {other}" in said[0]
    # The advice: the checkout's own package.
    done = Lab(tmp_path / "run", checkout=other).snakemake("--dry-run")
    assert done.returncode == 0, done.stderr


def test_snakemake_says_so_when_there_is_no_package(tmp_path):
    """As with a snakemake that was installed for another project: its Python knows nothing of this one."""
    # Without `site`, the installed packages are there and the editable one, which a .pth file names, is not.
    command = [sys.executable, "-S", *Lab(tmp_path / "run").command("--dry-run")[1:]]
    environment = os.environ | {"PYTHONPATH": sysconfig.get_path("purelib")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, env=environment)
    assert done.returncode == 1 and f"workflow of {CHECKOUT}" in done.stderr, done.stderr
    assert "has no package offcourse. Use the checkout's own: `make install`" in done.stderr


@pytest.mark.parametrize("verb", [["status"], ["audit", "--all"], ["plan"], ["find", "--where", "task=antonym"]])
def test_a_verb_refuses_to_work_in_another_checkout(other, tmp_path, verb):
    command = [sys.executable, "-m", "offcourse", *verb]
    environment = Mixed(tmp_path).environment
    done = subprocess.run(command, capture_output=True, text=True, cwd=other, env=environment)
    assert done.returncode == 2 and done.stderr.startswith(f"offcourse: {other} is a checkout, but {sys.executable}")
    if verb == ["status"]:
        more = ["--configfile", str(SMOKE), "--directory", str(other / ".smoke")]
        done = subprocess.run([*command, *more], capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 2 and f"{other} is a checkout" in done.stderr


def test_a_folder_that_is_in_no_checkout_is_anyones(other, tmp_path):
    require_own(tmp_path)
    require_own(CHECKOUT / "studies")
    assert checkout_of(tmp_path) is None and checkout_of(other / "rules") == other.resolve()
    with pytest.raises(OffcourseError, match=f"{other} is a checkout"):
        require_own(other / "rules")


def test_a_job_refuses_the_package_of_another_checkout(other, tmp_path):
    """Snakemake itself has the right package here; its jobs start anew, and PYTHONPATH gives them another."""
    start = f"import runpy, sys; sys.path.insert(0, {str(other / 'src')!r}); "
    start += "runpy.run_module('snakemake', run_name='__main__')"
    lab = Mixed(tmp_path / "run", checkout=other)
    command = [sys.executable, "-c", start, *lab.command("results/smoke/tiny-llama/manifest.json")[3:]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=other, env=lab.environment)
    assert done.returncode == 1 and f"offcourse: {other} is a checkout, but {sys.executable} imports" in done.stderr
    assert not (lab.folder / "resources/downloads/models/tiny-llama/manifest.json").exists()
