"""Steering methods beyond the paper's, a module each, under one contract (`contract.py`, docs/extending.md).

The modules do not import torch: a method is given the engine and computes with the engine's tensors.
"""

import importlib

from offcourse.errors import OffcourseError
from offcourse.steering.contract import SteeringMethod


def steering(name: str) -> SteeringMethod:
    """The method that the module `name` of this package defines. Raises `OffcourseError` when it defines none."""
    method = getattr(importlib.import_module(f"offcourse.steering.{name}"), "METHOD", None)
    if not isinstance(method, SteeringMethod):
        raise OffcourseError(
            f"src/offcourse/steering/{name}.py defines no method: expected METHOD, an instance of a SteeringMethod. "
            "See docs/extending.md."
        )
    return method
