"""Host tensors that a pass reads in every block: each device gets one copy, once.

A copy from the host makes the host wait until the device has finished all earlier work. With one copy per block a GPU
would be idle after every block.
"""

import torch
from torch import Tensor


class Placed:
    """A tensor of the host, and its copies on devices."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor
        self._copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def on(self, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
        """The tensor on `device` in precision `dtype` (None: the tensor's own); copied at the first call."""
        key = device, dtype or self.tensor.dtype
        if key not in self._copies:
            self._copies[key] = self.tensor.to(*key)
        return self._copies[key]
