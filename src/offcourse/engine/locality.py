"""How far back each layer of a model attends, taken from the masks that its class makes.

A class states a sliding window or a chunk (a stretch of tokens that attends only within itself) in the mask of a plain
forward. The engine has masks of its own, so it asks the class once, with one token, and refuses any other mask.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from offcourse.errors import OffcourseError
from offcourse.models.load import LanguageModel

NAME = "offcourse_asks"
# Positions among which a mask's limit is looked for, where the configuration states no longest prompt.
POSITIONS = 1 << 17


@dataclass(frozen=True)
class Locality:
    """window: number of tokens that a token attends to, itself included. chunk: tokens per chunk. None: no limit."""

    window: int | None = None
    chunk: int | None = None

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether the token at position `query` attends to the one at `key`; the two shapes are broadcast."""
        allowed = key <= query
        if self.window is not None:
            allowed = allowed & (key > query - self.window)
        if self.chunk is not None:
            allowed = allowed & (key // self.chunk == query // self.chunk)
        return allowed


class _Asked:
    """What a class hands to its attention in place of a mask while it is asked: a function of positions."""

    def __init__(self, function: Callable):
        self.function = function


def _mask(mask_function: Callable, **_) -> _Asked:
    return _Asked(mask_function)


def _attention(module, query, key, value, attention_mask, sliding_window=None, **_) -> tuple[Tensor, None]:
    module.offcourse_mask = attention_mask, sliding_window
    return value.new_zeros(query.shape[0], query.shape[2], query.shape[1], value.shape[3]), None


AttentionMaskInterface.register(NAME, _mask)
AttentionInterface.register(NAME, _attention)


@torch.inference_mode()
def ask(model: LanguageModel) -> dict[nn.Module, Locality]:
    """{attention module: its locality}, from one forward of one token, which leaves the model as it was.

    Raises `OffcourseError` for a class whose layers do not call `transformers`' attention functions, or whose mask is
    neither causal nor a sliding window nor chunks.
    """
    module = model.module
    before = module.config._attn_implementation
    module.set_attn_implementation(NAME)
    token = torch.zeros(1, 1, dtype=torch.long, device=model.input_device)
    try:
        module.base_model(input_ids=token, attention_mask=torch.ones_like(token), use_cache=False)
    # A class that computes with its mask can raise any error, since it gets none.
    except Exception as error:
        raise OffcourseError(
            f"{type(module).__name__}: it computes with its attention mask ({type(error).__name__}: {error}), so who "
            "attends to whom depends on more than the positions of tokens"
        ) from error
    finally:
        module.set_attn_implementation(before)
    asked = {
        part: part.__dict__.pop("offcourse_mask") for part in module.modules() if "offcourse_mask" in part.__dict__
    }
    name = type(module).__name__
    silent = model.layers - len(asked)
    if silent > 0:
        raise OffcourseError(
            f"{name}: {silent} of {model.layers} layers do not call the attention functions of transformers, so rows "
            "of edits cannot be run beside a prompt"
        )
    known: dict[tuple, Locality] = {}
    found = {}
    for part, (mask, window) in asked.items():
        if isinstance(mask, _Asked):
            key = id(mask.function), None
        elif mask is None:
            key = None, window
        else:
            raise OffcourseError(
                f"{name}: {type(part).__name__} attends with a mask of its own ({type(mask).__name__}), which depends "
                "on more than the positions of tokens"
            )
        if key not in known:
            known[key] = Locality(window) if mask is None else _read(mask.function, model, name)
        found[part] = known[key]
    return found


def _read(function: Callable, model: LanguageModel, name: str) -> Locality:
    """The locality whose mask equals `function` at every position compared; raises `OffcourseError` if none does."""
    device = model.input_device
    zero = torch.zeros((), dtype=torch.long, device=device)

    def allows(query: Tensor, key: Tensor) -> Tensor:
        return torch.broadcast_to(
            torch.as_tensor(function(zero, zero, query, key)), torch.broadcast_shapes(query.shape, key.shape)
        )

    positions = torch.arange(model.context or POSITIONS, device=device)
    # The first position that does not see the first token.
    blind = (~allows(positions, zero)).nonzero()
    limit = int(blind[0]) if len(blind) else None
    candidates = [Locality()] if limit is None else [Locality(window=limit), Locality(chunk=limit)]
    last = len(positions) - 1
    places = [0, 1, 2, 3, last // 2, last]
    places += [] if limit is None else [limit - 1, limit, limit + 1, 2 * limit - 1, 2 * limit, 2 * limit + 1]
    queries = sorted({place for place in places if 0 <= place <= last})
    for candidate in candidates:
        queried = (positions.new_tensor(place) for place in queries)
        if all(torch.equal(allows(query, positions), candidate.allows(query, positions)) for query in queried):
            return candidate
    raise OffcourseError(
        f"{name}: it attends with a mask that is neither causal nor a sliding window nor chunks of tokens"
    )
