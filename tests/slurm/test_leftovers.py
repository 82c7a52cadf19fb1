"""What a killed run of these tests leaves in /etc/slurm: links, and daemons that may still be at work."""

import subprocess
import tempfile
from pathlib import Path

import pytest
import slurm_cluster
from slurm_cluster import PLACE, PREFIX, daemons, earlier, why_not


@pytest.fixture
def link(tmp_path, monkeypatch):
    """A link as a run makes it, where Slurm looks for its configuration."""
    link = tmp_path / "slurm.conf"
    monkeypatch.setattr(slurm_cluster, "LINKS", [link])
    monkeypatch.setattr(slurm_cluster.os, "geteuid", lambda: 0)
    monkeypatch.setattr(slurm_cluster, "missing_packages", list)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=PLACE) as folder:
        for name in ("etc", "run"):
            (Path(folder) / name).mkdir()
        (Path(folder) / "etc" / "slurm.conf").touch()
        link.symlink_to(Path(folder) / "etc" / "slurm.conf")
        yield link


def test_links_of_a_run_whose_daemons_are_gone_are_no_reason(link):
    ended = subprocess.Popen(["true"])
    ended.wait()
    (earlier(link) / "run" / "true.pid").write_text(f"{ended.pid}\n")
    assert daemons(earlier(link)) == {} and why_not() is None


def test_daemons_that_are_at_work_are_named_with_what_ends_them(link):
    with subprocess.Popen(["sleep", "60"]) as daemon:
        (earlier(link) / "run" / "sleep.pid").write_text(f"{daemon.pid}\n")
        # Another program that has the number of a daemon that is gone.
        (earlier(link) / "run" / "slurmd.pid").write_text(f"{daemon.pid}\n")
        reason = why_not()
        daemon.kill()
    assert reason == f"one of an earlier run is at work (sleep {daemon.pid}); end it with: kill {daemon.pid}"


def test_a_configuration_of_another_cluster_is_left_alone(link, tmp_path):
    link.unlink()
    link.touch()
    assert why_not() == f"{link} is there: this machine belongs to a cluster"
