"""Fixtures that several folders share."""

import pytest
import torch
from hypothesis import settings

from offcourse.models.architectures import ARCHITECTURES
from offcourse.models.load import LanguageModel
from offcourse.models.random import random_model

torch.set_num_threads(1)
# Tests check results, never speed.
settings.register_profile("offcourse", deadline=None)
settings.load_profile("offcourse")


@pytest.fixture(scope="session")
def tiny():
    """`tiny("Llama")`: a seeded random model of one class in float32; one instance per class and session."""
    made: dict[str, LanguageModel] = {}

    def make(name: str) -> LanguageModel:
        if name not in made:
            made[name] = LanguageModel(random_model(name, seed=1), ARCHITECTURES[name])
        return made[name]

    return make
