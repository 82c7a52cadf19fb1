"""Copies between host and device for which neither waits.

An ordinary copy makes the host wait until the device has finished all earlier work. The device then has nothing to do
until the host has started the next operations; of several cards, all but one would be idle most of the time.
"""

import torch
from torch import Tensor


def on_device(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A host tensor on `device`, in precision `dtype` (None: its own). The host does not wait for a GPU's other work.

    A GPU copies from pinned memory while the host goes on; from other memory the host waits for all earlier work.
    """
    # A view that repeats numbers cannot be pinned.
    tensor = tensor.to(dtype or tensor.dtype).contiguous()
    if device.type == "cuda" and tensor.device.type == "cpu" and torch.cuda.is_available():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


class Placed:
    """A tensor of the host, and its copies on devices."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor
        self._copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def on(self, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
        """The tensor on `device` in precision `dtype` (None: the tensor's own); copied at the first call."""
        key = device, dtype or self.tensor.dtype
        if key not in self._copies:
            self._copies[key] = on_device(self.tensor, *key)
        return self._copies[key]


class OnTheWay:
    """A tensor of a device that is copied to the host while the device and the host go on.

    Copying in the usual way, the host would wait until the device has finished all work that it was given.
    """

    def __init__(self, tensor: Tensor):
        self._on_host = tensor.to("cpu", non_blocking=True)
        self._copied = None
        if tensor.is_cuda and torch.cuda.is_available():
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(tensor.device))

    def arrived(self) -> Tensor:
        """The tensor on the host, once it is there."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._on_host
