"""A GPU by shapes alone: the engine runs on fake tensors, and a meter says how many bytes the card would hold.

Nothing is computed and no card is needed. The meter sees every operation that torch's dispatcher starts, with the
temporaries of operations that are made of others, and takes a number off when torch frees its storage. Where the engine
reads a value (whether any state is left, which words pass), the meter answers for the worst case.
"""

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from offcourse.check_gpu.subjects import NARROW, build, configuration
from offcourse.data.architectures import architecture
from offcourse.data.rows import Model
from offcourse.engine import locality
from offcourse.engine.forest import Forest
from offcourse.models.load import DTYPES, LanguageModel

aten = torch.ops.aten
# The allocator of a card hands out multiples of this.
GRAIN = 512
# What a number that the engine reads is answered with: more than the states of a pass, less than any vocabulary.
MANY = 1 << 14


# Places of device types in torch's registry of guards (`c10/core/DeviceType.h`).
CUDA, META, TYPES = 1, 14, 22


def allow_pretended_cards() -> None:
    """Let torch's build for the CPU name CUDA devices in fake tensors.

    Copies between tensors ask the registry for their device's guard, of which this build has none for CUDA. The guard
    of the meta device does nothing, which is right for tensors without memory.
    """
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * TYPES).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    guards[CUDA] = guards[CUDA] or guards[META]


class Meter(TorchDispatchMode):
    """Bytes of storages on the pretended card: `held` now, `peak` at most; `widest` says what was held at the peak.

    attention: which kernel a fused attention takes; see `_attention`.
    """

    def __init__(self):
        super().__init__()
        self.held = self.peak = 0
        self.at_peak: dict[int, tuple[int, str]] = {}
        self._alive: dict[int, tuple[int, str]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is aten.scaled_dot_product_attention.default:
            with self:
                return _attention(*args, **kwargs)
        if func is aten._local_scalar_dense.default:
            return True if args[0].dtype == torch.bool else MANY
        if func is aten.nonzero.default:
            return torch.empty(args[0].numel(), args[0].dim(), dtype=torch.long, device=args[0].device)
        if func is aten.index.Tensor:
            with self:
                args = (args[0], [self._as_places(index) for index in args[1]])
        if func.namespace == "aten" and func._can_decompose():
            with self:
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        for leaf in _on_card((*args, *kwargs.values())):
            # Whatever was there before: the model, and what it is given.
            self._known(leaf.untyped_storage(), 0, "")
        out = func(*args, **kwargs)
        for leaf in _on_card((out,)):
            storage = leaf.untyped_storage()
            self._known(storage, -(-storage.nbytes() // GRAIN) * GRAIN, f"{func} {tuple(leaf.shape)} {leaf.dtype}")
        return out

    @staticmethod
    def _as_places(index):
        """A mask as the places where all of it is true."""
        if index is None or index.dtype != torch.bool:
            return index
        return torch.empty(index.numel(), dtype=torch.long, device=index.device)

    def _known(self, storage, size: int, made: str) -> None:
        key = storage._cdata
        if key in self._alive:
            return
        self._alive[key] = size, made
        weakref.finalize(storage, self._free, key)
        self.held += size
        if self.held > self.peak:
            self.peak = self.held
            self.at_peak = dict(self._alive)

    def _free(self, key: int) -> None:
        size, _ = self._alive.pop(key)
        self.held -= size

    def largest(self, count: int = 20) -> list[tuple[int, str]]:
        """The storages that were held at the peak, the largest first."""
        return sorted(self.at_peak.values(), reverse=True)[:count]


def _on_card(values) -> list[torch.Tensor]:
    """Tensors on the card among the values that an operation takes or returns, and in their lists and tuples."""
    found = []
    for value in values:
        if isinstance(value, (list, tuple)):
            found += _on_card(value)
        elif isinstance(value, torch.Tensor) and value.device.type == "cuda":
            found.append(value)
    return found


def _attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None, enable_gqa=False):
    """What torch holds for fused attention on a GPU: flash, memory-efficient, or plain products."""
    heads, length = query.shape[1:3]
    grouped = heads != key.shape[1]
    if grouped and (attn_mask is not None or query.dtype == torch.float32):
        return aten._scaled_dot_product_attention_math.default(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )[0]
    if attn_mask is not None:
        added = torch.where(attn_mask, 0.0, torch.zeros((), dtype=query.dtype, device=query.device))
        if added.shape[-1] % 16:
            added = torch.nn.functional.pad(added, (0, 16 - added.shape[-1] % 16))
    sums = query.new_empty(1, heads, length, dtype=torch.float32)  # noqa: F841  it is held beside the output
    return query.new_empty(1, length, heads, value.shape[3]).transpose(1, 2)


def pretended(row: Model, dtype: str) -> tuple[FakeTensorMode, LanguageModel]:
    """A model of a row's shape on a pretended card, and the mode in which to run it."""
    allow_pretended_cards()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    known = architecture(row.architecture)
    with mode, torch.device("cuda"):
        module = getattr(transformers, known.causal_lm)._from_config(
            configuration(row), dtype=DTYPES[dtype], attn_implementation="eager"
        )
    model = LanguageModel(module.eval(), known)
    if known.attention_interface:
        # Who attends to whom is read from values of masks, and fake tensors have none: ask a narrow model of the class.
        small = build(replace(row, **NARROW, kv_heads=NARROW["heads"]), "float32", "cpu")
        model.localities = {}
        asked = locality.ask(small)
        for name, part in small.module.named_modules():
            if part in asked:
                model.module.get_submodule(name).offcourse_locality = asked[part]
    return mode, model


def peak(mode: FakeTensorMode, run: Callable[[], object]) -> Meter:
    """Meter a call; what the model itself holds does not count."""
    meter = Meter()
    with mode, meter, mock.patch.object(Forest, "ancestors", property(_mask)):
        run()
    return meter


def _mask(forest: Forest) -> torch.Tensor | None:
    """The shape of a forest's mask; filling it takes minutes, an operation at a time."""
    return torch.empty(len(forest), len(forest), dtype=torch.bool)
