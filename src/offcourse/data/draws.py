"""Random generators keyed by (seed, task, role, index), so that a draw does not depend on the rest of the study."""

import hashlib
import json

import numpy as np


def keyed_generator(seed: int, task: str, role: str, index: int) -> np.random.Generator:
    """A numpy generator seeded with the sha256 of its key."""
    key = json.dumps([seed, task, role, index]).encode()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest(), "big"))
