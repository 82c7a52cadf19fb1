"""Marks that several test files share."""

import os

import pytest

needs_mirror = pytest.mark.skipif(
    not os.environ.get("OFFCOURSE_MIRROR"), reason="OFFCOURSE_MIRROR is not set: the authors' lists are not at hand"
)
