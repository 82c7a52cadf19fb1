"""The environment for `--sdm conda` says what the lock says."""

import runpy

from lab import CHECKOUT


def test_the_exported_environment_is_the_lock():
    export = runpy.run_path(str(CHECKOUT / "envs" / "export.py"))
    assert export["TARGET"].read_text() == export["environment"](), "run `make envs`"
    assert "torch==2.13.0" in export["environment"]()
