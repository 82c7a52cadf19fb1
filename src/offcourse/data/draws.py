"""Random draws that depend on their key alone: what else a study has changes none of them."""

import hashlib
import json

import numpy as np


def keyed_generator(seed: int, task: str, role: str, index: int) -> np.random.Generator:
    """A numpy generator seeded with the sha256 of its key."""
    key = json.dumps([seed, task, role, index]).encode()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest(), "big"))
