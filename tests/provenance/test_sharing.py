"""Machines and folders as records write them."""

import os
import platform
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from offcourse.errors import OffcourseError
from offcourse.provenance.records import Stopwatch
from offcourse.provenance.sharing import MARK, SALT, host_as, made_as, repository
from offcourse.study.config import load_study

STUDY = {"study": "one", "models": ["tiny-llama"], "tasks": ["antonym"]}


def test_a_host_is_a_digest_unless_the_study_names_it(tmp_path):
    assert load_study(STUDY).provenance.host == "digest"
    assert load_study(STUDY | {"provenance": {"host": "name"}}).provenance.host == "name"
    assert host_as("name", tmp_path) == platform.node()
    assert not (tmp_path / SALT).exists()
    hidden = host_as("digest", tmp_path)
    assert hidden.startswith(MARK) and hidden == host_as("digest", tmp_path)
    assert Stopwatch(hidden).made()["host"] == hidden


def test_another_word_for_the_host_is_refused():
    with pytest.raises(OffcourseError, match=r"provenance\.host: expected one of digest, name, got 'plain'"):
        load_study(STUDY | {"provenance": {"host": "plain"}})


def test_a_digest_is_digested_once_and_a_name_out_of_the_store_is_hidden(tmp_path):
    once = made_as("digest", tmp_path, {"host": "node7", "seconds": 1})
    assert once["host"].startswith(MARK) and once["seconds"] == 1
    assert made_as("digest", tmp_path, once) == once
    assert made_as("name", tmp_path, once) == once
    assert made_as("digest", tmp_path, {}) == {}


def test_jobs_that_begin_together_have_one_salt(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        hosts = set(pool.map(lambda _: host_as("digest", tmp_path, "node7"), range(32)))
    assert len(hosts) == 1


def test_a_damaged_salt_is_one_message_whose_advice_works(tmp_path):
    before = host_as("digest", tmp_path)
    (tmp_path / SALT).write_text("")
    with pytest.raises(OffcourseError, match=r"salt is damaged: it holds 0 signs instead of 64\. Delete it"):
        host_as("digest", tmp_path)
    (tmp_path / SALT).unlink()
    assert host_as("digest", tmp_path) != before


def test_a_local_model_is_named_by_its_folder_alone():
    assert repository("local", "/home/someone/models/mine") == "mine"
    assert repository("local", "~/models/mine.gguf") == "mine.gguf"
    assert repository("hub", "org/name") == "org/name"


@pytest.mark.parametrize("umask", [0o002, 0o027], ids=oct)
def test_the_salt_has_the_mode_of_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        host_as("digest", tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / SALT).stat().st_mode) == 0o666 & ~umask
