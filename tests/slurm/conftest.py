"""The cluster, for the whole session."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from slurm_cluster import PLACE, PREFIX, Cluster, why_not


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with FileLock(Path(tempfile.gettempdir()) / "offcourse-slurm.lock"):
        if reason := why_not():
            pytest.skip(f"Slurm cannot be started: {reason}")
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=PLACE) as folder:
            Path(folder).chmod(0o755)
            cluster = Cluster(Path(folder))
            try:
                cluster.start()
                yield cluster
            finally:
                cluster.stop()
