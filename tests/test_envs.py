"""The environment for `--sdm conda` and the container install exactly the versions in requirements.lock."""

import re
import runpy
import shutil
import subprocess

from lab import CHECKOUT


def test_the_exported_environment_is_the_lock():
    export = runpy.run_path(str(CHECKOUT / "envs" / "export.py"))
    assert export["TARGET"].read_text() == export["environment"](), "run `make envs`"
    assert "torch==2.13.0" in export["environment"]()


def test_the_container_installs_the_lock_and_nothing_else(tmp_path):
    """What it copies before `make install` is enough for that target, which then would install the lock."""
    recipe = (CHECKOUT / "envs" / "Containerfile").read_text()
    assert not re.search(r"\b(pip|conda|uv) ", recipe)
    before = recipe.partition("RUN make install")[0]
    for line in re.findall(r"^COPY (.+)$", before, re.MULTILINE):
        *sources, target = line.split()
        place = tmp_path / target
        (place if target.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        for source in sources:
            shutil.copy(CHECKOUT / source, place)
    told = subprocess.run(["make", "--dry-run", "install"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.search(r"pip install .*-r requirements\.lock", told.stdout)
    assert re.search(r"^FROM python:3\.11-", recipe, re.MULTILINE)
    assert "  - python=3.11\n" in (CHECKOUT / "envs" / "offcourse.yaml").read_text()
