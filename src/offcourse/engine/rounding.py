"""The rounding floor: how far rounding alone moves a model's states. Smaller differences of two passes mean nothing.

The plain model can compute one state in several ways that differ in rounding only:

* With other prompts in the batch. Other shapes take other kernels on a GPU, which sum in another order. On a CPU the
  sums mostly stay equal bit for bit, so this way alone would be no measure.
* With random noise of at most half a step of the precision on every number that a block, an output projection or the
  final norm reads. A sum in another order changes a stored number by about as much.

The largest relative distance among the states so computed is the rounding floor (`engine.checks`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from offcourse.engine.attention import uninstalled
from offcourse.models.load import LanguageModel
from offcourse.models.plain import PlainModel

# An edit is a function that registers hooks on the model and returns their handles.
Edit = Callable[[], list]


def no_edit() -> list:
    """The edit that changes nothing."""
    return []


@torch.inference_mode()
def plain_states(
    model: LanguageModel,
    batch: Sequence[Sequence[int]],
    edit: Edit = no_edit,
    noise: torch.Generator | None = None,
) -> Tensor:
    """Final-normed states [prompts, tokens, width] of the plain model, for prompts of one length.

    noise: CPU generator of the rounding noise; None adds no noise.
    """
    seen: list[Tensor] = []
    with ExitStack() as stack, uninstalled(model):
        for handle in edit():
            stack.callback(handle.remove)
        if noise is not None:
            stack.enter_context(rounding_noise(model, noise))
        stack.callback(
            model.norm.register_forward_hook(lambda module, args, out: seen.append(model.scaled(out))).remove
        )
        model.module.base_model(torch.tensor(batch, device=model.input_device), use_cache=False)
    return seen[-1].view(len(batch), -1, seen[-1].shape[-1])


def ways_apart(model: LanguageModel, ids: Sequence[int], edit: Edit, seed: int, batch: bool) -> list[Tensor]:
    """The last state [width] of a prompt, computed with rounding noise and, if `batch`, in a batch with other prompts.

    The edit applies to the last token of the first prompt of a batch. seed: seed of the noise.
    """
    ids = list(ids)
    ways = [plain_states(model, [ids], edit, torch.Generator().manual_seed(seed))]
    if batch:
        ways.append(plain_states(model, [ids, ids[::-1], ids[1:] + ids[:1]], edit))
    return [states[0, -1] for states in ways]


@contextmanager
def rounding_noise(model: LanguageModel, noise: torch.Generator) -> Iterator[None]:
    """Inside the block every pass reads numbers with random noise of at most half a step of the precision.

    What a step computes inside the block shows how far rounding alone moves that step's numbers. noise: CPU generator.
    """
    with ExitStack() as stack:
        for module in _readers(model):
            hook = _rounded_differently(noise)
            stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield


def relative(state: Tensor, expected: Tensor) -> float:
    """Relative error: |state - expected| / |expected| (Euclidean norms); infinite if either holds a NaN."""
    state, expected = state.double().cpu(), expected.double().cpu()
    value = float((state - expected).norm() / expected.norm().clamp_min(1e-30))
    return value if value == value else float("inf")


def _readers(model: LanguageModel) -> list[torch.nn.Module]:
    if isinstance(model, PlainModel):
        return [*model.blocks, *model.mixers, *(part for block in model.networks for part in block), model.norm]
    outputs = [block.get_submodule(model.architecture.mlp_output) for block in model.blocks]
    return [*model.blocks, *model.projections, *outputs, model.norm]


def _rounded_differently(noise: torch.Generator):
    def hook(module, args, kwargs):
        hidden = args[0] if args else kwargs["hidden_states"]
        moved = torch.rand(hidden.shape, generator=noise).sub_(0.5).to(hidden.device) * torch.finfo(hidden.dtype).eps
        hidden = (hidden.float() * (1 + moved)).to(hidden.dtype)
        return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})

    return hook
