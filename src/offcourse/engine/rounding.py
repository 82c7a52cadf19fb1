"""How far rounding alone moves a model: the floor below which no difference of two passes means anything.

The plain model gives the same state in several legitimate ways that differ in rounding only:

* with other prompts in the batch. Other shapes take other kernels on a GPU, which sum in another order. On a CPU sums
  mostly stay the same bit for bit, so that this alone would be no measure;
* with every number that a block, an output projection or the final norm reads moved by at most half a step of its
  precision, at random. That is what sums in another order do to a number when it is stored.

The largest relative distance among these is the rounding floor (`engine.checks`).
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from offcourse.engine.attention import uninstalled
from offcourse.models.load import LanguageModel

# Registers the hooks of an edit on the model and returns their handles.
Edit = Callable[[], list]


def no_edit() -> list:
    """The prompt as it is."""
    return []


@torch.inference_mode()
def plain_states(
    model: LanguageModel,
    batch: Sequence[Sequence[int]],
    edit: Edit = no_edit,
    noise: torch.Generator | None = None,
) -> Tensor:
    """Final-normed states [prompts, tokens, width] of the plain model, for prompts of one length.

    noise: where to draw from how numbers are rounded differently, on the CPU; None rounds as usual.
    """
    seen: list[Tensor] = []
    with ExitStack() as stack, uninstalled(model):
        for handle in edit():
            stack.callback(handle.remove)
        for module in _readers(model) if noise is not None else ():
            stack.callback(module.register_forward_pre_hook(_rounded_differently(noise)).remove)
        stack.callback(model.norm.register_forward_hook(lambda module, args, out: seen.append(out)).remove)
        model.module.base_model(torch.tensor(batch, device=model.input_device), use_cache=False)
    return seen[0].view(len(batch), -1, seen[0].shape[-1])


def ways_apart(model: LanguageModel, ids: Sequence[int], edit: Edit, seed: int, batch: bool) -> list[Tensor]:
    """The last state [width] of a prompt in other legitimate ways: rounded differently, and (`batch`) among others.

    The edit applies to the last token of the first prompt of a batch. seed: of the rounding.
    """
    ids = list(ids)
    ways = [plain_states(model, [ids], edit, torch.Generator().manual_seed(seed))]
    if batch:
        ways.append(plain_states(model, [ids, ids[::-1], ids[1:] + ids[:1]], edit))
    return [states[0, -1] for states in ways]


def relative(state: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what was expected; infinite where either is not a number."""
    state, expected = state.double().cpu(), expected.double().cpu()
    value = float((state - expected).norm() / expected.norm().clamp_min(1e-30))
    return value if value == value else float("inf")


def _readers(model: LanguageModel) -> list[torch.nn.Module]:
    outputs = [block.get_submodule(model.architecture.mlp_output) for block in model.blocks]
    return [*model.blocks, *model.projections, *outputs, model.norm]


def _rounded_differently(noise: torch.Generator):
    def hook(module, args):
        hidden = args[0]
        moved = torch.rand(hidden.shape, generator=noise).sub_(0.5).to(hidden.device) * torch.finfo(hidden.dtype).eps
        return ((hidden.float() * (1 + moved)).to(hidden.dtype), *args[1:])

    return hook
