"""The released files, fetched once from OFFCOURSE_MIRROR."""

import os

import pytest

from offcourse.archive.manifest import fetch_release
from offcourse.graph.release import Release
from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout


@pytest.fixture(scope="session")
def release(tmp_path_factory) -> Release:
    if not os.environ.get("OFFCOURSE_MIRROR"):
        pytest.skip("OFFCOURSE_MIRROR is not set: the authors' results are not at hand")
    release = Release(Layout(NAME, tmp_path_factory.mktemp("release")))
    fetch_release(downloads=release.layout.downloads)
    return release
