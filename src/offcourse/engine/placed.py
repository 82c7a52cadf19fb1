"""Tensors from the host that a pass reads in every block: each device is sent one copy, once.

A copy from the host makes the host wait until the device has done all it was given before. One copy per block would
leave a GPU idle after every block.
"""

import torch
from torch import Tensor


class Placed:
    """A tensor of the host, and the copies of it that devices were sent so far."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor
        self._copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def on(self, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
        """The tensor on a device, in a precision (its own if None)."""
        key = device, dtype or self.tensor.dtype
        if key not in self._copies:
            self._copies[key] = self.tensor.to(*key)
        return self._copies[key]
