"""A model folder that tests of models spoil copies of."""

import pytest

from offcourse.models.random import random_model, random_tokenizer


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "healthy"
    random_model("Llama", 0).save_pretrained(folder)
    random_tokenizer(["one two three four"], True).save_pretrained(folder)
    return folder
