"""The plain path: every edit of a prompt is a whole forward of the class's own code, many of them in a batch.

It serves classes beside whose prompts no rows can run: layers that keep a state, attention that does not go through
`transformers`' functions, masks that depend on more than positions. A batch holds one prompt many times, or prompts of
one length, so that no layer ever sees what would fill a shorter prompt. Nothing is kept between forwards.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from offcourse.data.architectures import rows_of_classes
from offcourse.engine import unembed
from offcourse.engine.halving import halving
from offcourse.engine.placed import on_device
from offcourse.engine.rows import HeadRows, Piece, Rows, split
from offcourse.engine.run import Context, Engine, Readings, States
from offcourse.errors import OffcourseError
from offcourse.models.budgets import CPU_TOKENS, GPU_TOKENS
from offcourse.models.plain import PlainModel

Prompts = Sequence[Sequence[int]]


class PlainEngine(Engine):
    """Runs prompts and edits on one loaded model, with whole forwards; its methods are those of `Engine`.

    max_rows: most tokens that go through the model at once, those of every edited prompt counted ("auto": by device).
    The class's own attention runs, whatever `numerics.attention` says. logits_dtype: see `Engine`. why: why rows cannot
    be run; None for the reason in the table of classes.
    """

    whole = True

    def __init__(
        self, model: PlainModel, max_rows: int | str = "auto", logits_dtype: str = "model", why: str | None = None
    ):
        self.why = rows_of_classes()[model.architecture.name].why_plain if why is None else why
        self.explicit = True
        self.wide = logits_dtype == "float32"
        self.model = model
        auto = CPU_TOKENS if model.input_device.type == "cpu" else GPU_TOKENS
        self.max_rows = self.max_tokens = auto if max_rows == "auto" else int(max_rows)

    @halving
    @torch.inference_mode()
    def read(self, prompts: Prompts, targets: Sequence[int]) -> unembed.Readout:
        """Probability and rank of one target token after each prompt."""
        return self._unembed(self._last(prompts), torch.as_tensor(list(targets)), probability=True).cpu()

    @halving
    @torch.inference_mode()
    def predict(self, prompts: Prompts) -> Tensor:
        """The most likely token after each prompt: [prompts] ids."""
        return unembed.predict(self.model.head, self._last(prompts), self.wide).cpu()

    @torch.inference_mode()
    def capture_heads(self, prompts: Prompts, positions: Sequence[int]) -> Tensor:
        """Head outputs at one position of each prompt: [prompts, layers, heads, head_dim] float32, on the CPU.

        Raises `OffcourseError` for a class with a block that has no attention heads.
        """
        if not self.model.projections:
            raise OffcourseError(
                f"{self.model.architecture.causal_lm} has blocks without attention heads, so no head's output can be "
                "read. Leave the model out of the method's models, as in function_vectors.models."
            )
        found = self._captured(prompts, positions, self.model.projections, inputs=True)
        return found.view(*found.shape[:2], self.model.heads, self.model.head_dim)

    @torch.inference_mode()
    def capture_residuals(self, prompts: Prompts) -> Tensor:
        """Residual stream after every block at the last token: [prompts, layers, width] float32, on the CPU."""
        return self._captured(prompts, [len(prompt) - 1 for prompt in prompts], self.model.blocks, inputs=False)

    def keep(self, tokens: Sequence[int], context: Context | None = None) -> Context:
        """The beginning `tokens` of later prompts. Nothing is computed: every later forward begins with them."""
        return Context((*(context.tokens if context else ()), *tokens), {})

    @torch.inference_mode()
    def under(self, tokens: Sequence[int], hooks: Callable[[], list]) -> Tensor:
        """Final-normed states [tokens, width] of one sequence. hooks: see `edit_hooks.hooks_of`."""
        hung = hooks()
        try:
            return self._run([tokens])[0]
        finally:
            for hook in hung:
                hook.remove()

    def states(
        self,
        prompts: Prompts,
        positions: Sequence[Sequence[int]],
        layers: Sequence[int],
        context: Context | None = None,
    ) -> Iterator[States]:
        """Residual streams at some positions of each prompt, all prompts in one part.

        A state depends on the tokens up to its position alone, so prompts that share a beginning share its states.
        context: not used, since prompts are given whole.
        """
        rows: dict[tuple[int, ...], int] = {}
        where, wanted = [], []
        for prompt, places in zip(prompts, positions, strict=True):
            beginnings = [tuple(prompt[: place + 1]) for place in places]
            new = [place for place, ids in zip(places, beginnings, strict=True) if ids not in rows]
            for ids in beginnings:
                rows.setdefault(ids, len(rows))
            where.append([rows[ids] for ids in beginnings])
            wanted.append(new)
        hidden, final = self._states(prompts, wanted, layers)
        yield States(slice(0, len(prompts)), where, hidden, final)

    def readings(self, prompts: Prompts) -> Iterator[Readings]:
        """The residual stream and both sub-layers' outputs at the last position, `max_tokens` tokens of prompts a part.

        A block without a feed-forward network adds nothing after its mixer: `Readings.mlp` is NaN there.
        """
        start = 0
        while start < len(prompts):
            stop, tokens = start + 1, len(prompts[start])
            while stop < len(prompts) and tokens + len(prompts[stop]) <= self.max_tokens:
                tokens += len(prompts[stop])
                stop += 1
            yield self._readings(prompts, slice(start, stop))
            start = stop

    @torch.inference_mode()
    def row_states(self, prompts: Prompts, rows: Rows) -> Tensor:
        """Final-normed states [prompts, 1 + rows, width] of each unedited prompt and of every edit, in layer order."""
        unedited = self._last(prompts)
        found = [
            torch.cat([unedited[i : i + 1], *self._edited(prompt, rows.of_prompts(slice(i, i + 1)))])
            for i, prompt in enumerate(prompts)
        ]
        return torch.stack(found)

    def _edited(self, prompt: Sequence[int], rows: Rows) -> Iterator[Tensor]:
        """Final-normed last states [edits, width] of a prompt, one batch of its edits after the other."""
        for pieces in split(rows, self.model.layers, max(1, self.max_tokens // len(prompt))):
            if not pieces:
                continue
            with ExitStack() as stack:
                start = 0
                for piece in pieces:
                    stack.callback(self._edit(rows, piece, start).remove)
                    start += len(piece)
                yield self._run([prompt] * start)[:, -1]

    def _edit(self, rows: Rows, piece: Piece, start: int):
        """Register the hook of the edits of one piece, which are the batch elements from `start` on."""
        mine = slice(start, start + len(piece))
        if isinstance(rows, HeadRows):

            def heads(module, args):
                joined = args[0].clone()
                rows.edit_heads(piece.layer, joined[mine, -1].unflatten(-1, (self.model.heads, -1))[None], piece.part)
                return (joined, *args[1:])

            return self.model.projections[piece.layer].register_forward_pre_hook(heads)

        def stream(module, args, out):
            # The elements of a batch are one prompt, so the first of the edits has the unedited state of all.
            hidden = _first(out).clone()
            hidden[mine, -1] = rows.states(piece.layer, hidden[start : start + 1, -1], piece.part)[0]
            return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

        return self.model.blocks[piece.layer - 1].register_forward_hook(stream)

    def _run(self, tokens: Prompts, positions: Tensor | None = None) -> Tensor:
        """The model's final-normed states [prompts, sequence, width]. tokens: prompts of one length."""
        return self.model.forward(on_device(torch.tensor([[*prompt] for prompt in tokens]), self.model.input_device))

    def _alike(self, prompts: Prompts) -> Iterator[list[int]]:
        """Batches of prompts of one length, as indices: at most `max_tokens` tokens, or one prompt."""
        by_length: dict[int, list[int]] = {}
        for index, prompt in enumerate(prompts):
            by_length.setdefault(len(prompt), []).append(index)
        for length, members in sorted(by_length.items()):
            together = max(1, self.max_tokens // length)
            yield from (members[start : start + together] for start in range(0, len(members), together))

    def _last(self, prompts: Prompts) -> Tensor:
        """Final-normed states [prompts, width] of the prompts' last tokens."""
        found: dict[int, Tensor] = {}
        for members in self._alike(prompts):
            found |= zip(members, self._run([prompts[i] for i in members])[:, -1], strict=True)
        return torch.stack([found[index] for index in range(len(prompts))])

    @halving
    def _captured(self, prompts: Prompts, positions: Sequence[int], modules: Sequence[nn.Module], inputs: bool):
        """The first input or the output of each module at one position of each prompt: [prompts, modules, width]."""
        found: dict[int, Tensor] = {}
        for members in self._alike(prompts):
            places = torch.tensor([positions[i] for i in members])
            with _Taken(modules, inputs, lambda states, at=places: _at(states, at).float().cpu()) as taken:
                self._run([prompts[i] for i in members])
            found |= zip(members, torch.stack([taken.last(i) for i in range(len(modules))], 1), strict=True)
        return torch.stack([found[index] for index in range(len(prompts))])

    @halving
    @torch.inference_mode()
    def _states(self, prompts: Prompts, wanted: Sequence[Sequence[int]], layers: Sequence[int]):
        """({layer: input of the block}, final): [states, width] each, prompt by prompt at the wanted positions."""
        blocks = [self.model.blocks[layer] for layer in layers]
        hidden: dict[int, list[Tensor]] = {}
        final: dict[int, Tensor] = {}
        needed = [index for index, places in enumerate(wanted) if places]
        for batch in self._alike([prompts[i] for i in needed]):
            members = [needed[i] for i in batch]
            with _Taken(blocks, True, lambda states: states) as taken:
                out = self._run([prompts[i] for i in members])
            for row, i in enumerate(members):
                hidden[i] = [taken.last(index)[row, list(wanted[i])] for index in range(len(blocks))]
                final[i] = out[row, list(wanted[i])]
        order = sorted(final)
        joined = {layer: torch.cat([hidden[i][index] for i in order]) for index, layer in enumerate(layers)}
        return joined, torch.cat([final[i] for i in order])

    @halving
    @torch.inference_mode()
    def _readings(self, prompts: Prompts, part: slice) -> Readings:
        model, mine = self.model, prompts[part]
        networks = [each for block in model.networks for each in block]
        found: dict[str, dict[int, list[Tensor]]] = {"hidden": {}, "attention": {}, "mlp": {}}
        final: dict[int, Tensor] = {}
        for members in self._alike(mine):
            shape = len(members), len(mine[members[0]])

            def last(states: Tensor, shape=shape) -> Tensor:
                # Some classes flatten the batch axis on the way through the feed-forward network.
                return states.reshape(*shape, -1)[:, -1]

            with (
                _Taken(model.blocks, True, last) as before,
                _Taken(model.mixers, False, last) as mixed,
                _Taken(networks, False, last) as fed,
            ):
                states = self._run([mine[i] for i in members])[:, -1]
            outputs = iter(range(len(networks)))
            nothing = torch.full_like(states, float("nan"))
            mlp = [sum(fed.last(next(outputs)) for _ in block) if block else nothing for block in model.networks]
            for row, i in enumerate(members):
                found["hidden"][i] = [before.last(layer)[row] for layer in range(model.layers)]
                found["attention"][i] = [mixed.last(layer)[row] * model.residual_scale for layer in range(model.layers)]
                found["mlp"][i] = [added[row] * model.residual_scale for added in mlp]
                final[i] = states[row]
        order = range(len(mine))
        joined = {
            name: {layer: torch.stack([of[i][layer] for i in order]) for layer in range(model.layers)}
            for name, of in found.items()
        }
        return Readings(part, **joined, final=torch.stack([final[i] for i in order]))


class _Taken(ExitStack):
    """Takes something from the first input, or from the output, of some modules while they run in the block."""

    def __init__(self, modules: Sequence[nn.Module], inputs: bool, take: Callable[[Tensor], Tensor]):
        super().__init__()
        self._taken: dict[int, Tensor] = {}
        for index, module in enumerate(modules):
            # Copies, since some classes add into what a part has returned (Falcon).
            def before(part, args, kwargs, index=index):
                self._taken[index] = take(args[0] if args else kwargs["hidden_states"]).clone()

            def after(part, args, out, index=index):
                self._taken[index] = take(_first(out)).clone()

            if inputs:
                self.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            else:
                self.callback(module.register_forward_hook(after).remove)

    def last(self, index: int) -> Tensor:
        """What was taken from a module."""
        return self._taken[index]


def _first(out) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


def _at(states: Tensor, places: Tensor) -> Tensor:
    """[prompts, width]: the states of each prompt at its own position. states: [prompts, tokens, width]."""
    return states[torch.arange(len(places), device=states.device), places.to(states.device)]
