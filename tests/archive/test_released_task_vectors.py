"""Released accuracies of task vectors, and pickles that ask for more than arrays."""

import os
import pickle

import numpy as np
import pandas as pd
import pytest

from offcourse.archive import paths, task_vectors
from offcourse.archive.unpickle import load_arrays
from offcourse.errors import OffcourseError


class Runs:
    """What a malicious pickle holds."""

    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


def test_a_pickle_may_hold_arrays_and_numbers_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    held = {"by_layer": {0: np.float64(0.5)}, "tokens": np.array([["a", "b"]]), "any": np.array(["x"], dtype=object)}
    back = load_arrays(pickle.dumps(held), "good.pkl")
    assert back["by_layer"] == {0: 0.5} and (back["tokens"] == held["tokens"]).all()
    for value in (Runs(), {"deep": [Runs()]}, pd.Series([1]), print, np.load):
        with pytest.raises(OffcourseError, match=r"bad.pkl is a pickle that asks for .*Only numpy arrays and numbers"):
            load_arrays(pickle.dumps(value), "bad.pkl")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_pickle_is_refused():
    for content in (b"", b"accuracy,0.5\n", pickle.dumps([1, 2, 3])[:-3]):
        with pytest.raises(OffcourseError, match="bad.pkl cannot be read as a pickle"):
            load_arrays(content, "bad.pkl")


def read_model(release, name, read=None):
    pickled = paths.vector_paths(name)["pickle"] in release.manifest
    args = (name, release.vector_tasks(), release.known(name).layers, pickled)
    return task_vectors.read_task_vectors(read or release.read, *args)


def test_every_model_is_read_and_csv_and_pickle_agree(release):
    names = release.names("task_vectors")
    assert len(names) == 29
    for name in names:
        found = read_model(release, name)
        assert len(found) == 9
        for sweep, shots in found.values():
            splits = sweep["split"].value_counts()
            assert splits["dev"] == release.known(name).layers
            assert splits.get("test", 0) == (name != "qwen2-72b")
            assert list(shots["shots"]) == [0, 5] and list(shots["items"]) == [100, 50]


def test_means_of_the_release_have_the_spanish_columns_swapped(release):
    """A check of which column is which: the authors' own mean columns follow from the tables with the swap."""
    swapped = ("french-english", "english-spanish", "italian-english")
    for name in release.names("task_vectors"):
        path = paths.vector_paths(name)["layers"]
        mean = task_vectors._csv(release.read(path), path)["to-eng"]
        found = read_model(release, name)
        dev = [found[task][0].query("split == 'dev'")["hits"].to_numpy(float) for task in swapped]
        np.testing.assert_allclose(np.mean(dev, axis=0) / 50, mean, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("layers", lambda text: "\n".join(text.split("\n")[:-2]), "has 27 rows .* each of 28 layers"),
        ("layers", lambda text: text.replace("antonym", "opposites"), "nothing about antonym: expected linguistic_ant"),
        ("layers", lambda text: text.replace("\n0.06,", "\n0.061,", 1), "an accuracy is not a number of 50 items"),
        ("layers", lambda text: text.replace("\n0.06,", "\n0.08,", 1), "it contradicts the CSV of the same model"),
        ("layers", lambda text: text.replace("0.36", "much"), "is not a table of accuracies"),
    ],
)
def test_a_table_of_another_shape_is_refused(release, kind, change, message):
    path = paths.vector_paths("gptj-6b")[kind]

    def read(spec):
        content = release.read(spec)
        return change(content.decode()).encode() if spec == path else content

    with pytest.raises(OffcourseError, match=message):
        read_model(release, "gptj-6b", read)
