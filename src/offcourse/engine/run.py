"""Passes through a model: read-outs of prompts, captured head outputs, and rows of edits.

A pass runs the model's own forward with the engine's attention. Hooks on the blocks let each row (edited last token)
join at the block of its edit, so that no row is computed below its edit. The model's code, accelerate's placement and
each class's norms, biases and caps stay unchanged.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from offcourse.engine import unembed
from offcourse.engine.attention import PassState, install, running
from offcourse.engine.forest import Forest, cuts, forests, shared_beginning
from offcourse.engine.halving import halving
from offcourse.engine.placed import OnTheWay, Placed, on_device
from offcourse.engine.row_pass import RowPass
from offcourse.engine.rows import Rows, batches, split
from offcourse.models.budgets import CPU_ROWS, CPU_TOKENS, GPU_ROWS, GPU_TOKENS
from offcourse.models.load import LanguageModel


@dataclass(frozen=True)
class Context:
    """A beginning that many prompts share. kept: {layer: (keys, values)}, each [kv_heads, tokens, head_dim]."""

    tokens: tuple[int, ...]
    kept: dict[int, tuple[Tensor, Tensor]]

    def followed_by(self, tokens: tuple[int, ...], kept: dict[int, tuple[Tensor, Tensor]]) -> "Context":
        """The context of this beginning and `tokens` after it. kept: {layer: (keys, values)} of `tokens`."""
        joined = {
            layer: tuple(torch.cat([old, new], 1) for old, new in zip(self.kept[layer], parts, strict=True))
            for layer, parts in kept.items()
            if self.tokens
        }
        return Context(self.tokens + tokens, joined or kept)


@dataclass(frozen=True)
class States:
    """Residual streams at requested positions; prompts that share a beginning share the states of that beginning.

    prompts: slice of the list of prompts.
    where: per prompt, the index into the tensors below of each of its positions.
    hidden: {layer: input of the block}, [states, width] each.
    final: [states, width], after the final norm.
    """

    prompts: slice
    where: list[list[int]]
    hidden: dict[int, Tensor]
    final: Tensor


@dataclass(frozen=True)
class Readings:
    """Streams and sub-layer outputs at the last position of each prompt, per block: [prompts, width] each.

    hidden: the block's input. attention: output of the attention output projection. mlp: output of the feed-forward
    network's last projection. Both outputs are taken before any norm that follows, and times the factor with which
    the class adds them to the stream (Granite). final: state after the final norm.
    """

    prompts: slice
    hidden: dict[int, Tensor]
    attention: dict[int, Tensor]
    mlp: dict[int, Tensor]
    final: Tensor


class Engine:
    """Runs prompts and edits on one loaded model.

    max_rows: most rows, and about the most tokens of a forest, that go through the model at once. "auto": by device
    (on a CPU, fewer tokens than rows). max_rows bounds the memory of a pass, whatever the size of the grid.
    attention: how prompt tokens attend to each other, "eager" (explicit products) or "sdpa" (fused); "auto" is "sdpa".
    logits_dtype: "model" (logits are rounded to the model's precision) or "float32" (they are not).
    """

    # Whether every edit is a whole forward (the plain path).
    whole: ClassVar[bool] = False

    def __init__(
        self,
        model: LanguageModel,
        max_rows: int | str = "auto",
        attention: str = "auto",
        logits_dtype: str = "model",
    ):
        install(model)
        self.explicit = attention == "eager"
        self.wide = logits_dtype == "float32"
        self.model = model
        on_cpu = model.input_device.type == "cpu"
        auto = max_rows == "auto"
        self.max_rows = (CPU_ROWS if on_cpu else GPU_ROWS) if auto else int(max_rows)
        self.max_tokens = (CPU_TOKENS if on_cpu else GPU_TOKENS) if auto else int(max_rows)

    @halving
    @torch.inference_mode()
    def read(self, prompts: Sequence[Sequence[int]], targets: Sequence[int]) -> unembed.Readout:
        """Probability and rank of one target token after each prompt; shared beginnings are computed once."""
        states = [self._forest_states(forest, _ends(forest)) for _, forest in forests(prompts, self.max_tokens)]
        return self._unembed(torch.cat(states), torch.as_tensor(list(targets)), probability=True).cpu()

    @torch.inference_mode()
    def capture_heads(self, prompts: Sequence[Sequence[int]], positions: Sequence[int]) -> Tensor:
        """Head outputs at one position of each prompt: [prompts, layers, heads, head_dim] float32, on the CPU.

        A head's output is its slice of the input of the attention output projection (before W_O). Where heads differ in
        size from layer to layer (Gemma 4), smaller ones end in zeros.
        """
        found = self._capture(prompts, positions, self.model.projections, self.model.heads)
        return found.view(*found.shape[:2], self.model.heads, self.model.head_dim)

    @torch.inference_mode()
    def capture_residuals(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Residual stream after every block at the last token: [prompts, layers, width] float32, on the CPU."""
        readers = [*self.model.blocks[1:], self.model.norm]
        return self._capture(prompts, [len(prompt) - 1 for prompt in prompts], readers)

    @halving
    @torch.inference_mode()
    def predict(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """The most likely token after each prompt: [prompts] ids."""
        states = [self._forest_states(forest, _ends(forest)) for _, forest in forests(prompts, self.max_tokens)]
        return unembed.predict(self.model.head, torch.cat(states), self.wide).cpu()

    def predict_rows(self, prompts: Sequence[Sequence[int]], rows: Rows) -> Iterator[Tensor]:
        """For each prompt, the most likely token after the prompt and after each row, in layer order: [1 + rows] ids.

        Ids stay on the device of the unembedding; see `read_rows_each`.
        """
        for part in self._batches(prompts, rows):
            yield from self._predict_batch(prompts[part], rows.of_prompts(part))

    def read_rows_each(
        self,
        prompts: Sequence[Sequence[int]],
        targets: Sequence[int],
        rows: Rows,
        probability: bool = True,
        without_output_bias: int | None = None,
    ) -> Iterator[tuple[unembed.Readout, unembed.Readout]]:
        """For each prompt, the read-outs of the unedited prompt (one state) and of every row, in layer order.

        As many prompts as fit go through the model together. The read-outs stay on the device of the unembedding, and
        the host waits for none: it starts the next prompts while the device computes. Whoever brings a read-out to the
        host, waits; so collect them, and bring them over at the end.

        probability, without_output_bias: see `read_rows`.
        """
        for part in self._batches(prompts, rows):
            mine = prompts[part], targets[part], rows.of_prompts(part)
            yield from self._read_batch(*mine, probability, without_output_bias)

    def read_rows(
        self,
        prompt: Sequence[int],
        target: int,
        rows: Rows,
        probability: bool = True,
        without_output_bias: int | None = None,
    ) -> tuple[unembed.Readout, unembed.Readout]:
        """Read-outs of one unedited prompt (one state) and of every row, in layer order, on the host.

        probability: False leaves probabilities out (they are NaN).
        without_output_bias: a layer whose attention output projection runs without its bias, for all positions (as the
        study's code patched heads); None leaves every bias where it is.
        """
        [found] = self.read_rows_each([prompt], [target], rows, probability, without_output_bias)
        return found[0].cpu(), found[1].cpu()

    @halving
    @torch.inference_mode()
    def _predict_batch(self, prompts: Sequence[Sequence[int]], rows: Rows) -> list[Tensor]:
        found = []
        for part in self._batches(prompts, rows):
            states = self.row_states(prompts[part], rows.of_prompts(part))
            found += unembed.predict(self.model.head, states.flatten(0, 1), self.wide).view(states.shape[:2])
        return found

    @halving
    @torch.inference_mode()
    def _read_batch(self, prompts, targets, rows: Rows, probability: bool, without_output_bias: int | None):
        if without_output_bias is not None and self.model.projections[without_output_bias].bias is None:
            without_output_bias = None
        found = []
        for part in self._batches(prompts, rows):
            with self._bias_dropped(without_output_bias):
                states = self.row_states(prompts[part], rows.of_prompts(part))
            found += self._read_states(states, targets[part], probability)
        return found

    def _read_states(self, states: Tensor, targets: Sequence[int], probability: bool) -> list:
        """(read-out of the prompt, read-outs of its rows) of each prompt. states: [prompts, 1 + rows, width]."""
        count = states.shape[1]
        if states.is_cuda:
            # All prompts at once: a GPU takes as long to start a small product as to compute it.
            wanted = torch.tensor(list(targets)).repeat_interleave(count)
            out = self._unembed(states.flatten(0, 1), wanted, probability)
            outs = [out[start : start + count] for start in range(0, len(wanted), count)]
        else:
            # With one target at a time, states that some word beats are dropped early.
            outs = [
                self._unembed(mine, torch.full((count,), int(target)), probability)
                for mine, target in zip(states, targets, strict=True)
            ]
        return [(out[:1], out[1:]) for out in outs]

    @halving
    @torch.inference_mode()
    def keep(self, tokens: Sequence[int], context: Context | None = None) -> Context:
        """Run the beginning `tokens` once, at most `max_tokens` tokens a pass, and keep its keys and values.

        context: the kept context that precedes `tokens`; the returned context then covers both.
        """
        context = context or Context((), {})
        for start in range(0, len(tokens), self.max_tokens):
            part, before = tuple(tokens[start : start + self.max_tokens]), len(context.tokens)
            state = PassState(len(part), explicit=self.explicit, keep=len(part), context=context.kept)
            with running(state):
                self._run([part], torch.arange(before, before + len(part))[None])
            context = context.followed_by(part, state.kept)
        return context

    def states(
        self,
        prompts: Sequence[Sequence[int]],
        positions: Sequence[Sequence[int]],
        layers: Sequence[int],
        context: Context | None = None,
    ) -> Iterator[States]:
        """Residual streams at some positions of each prompt, from one pass per forest of prompts.

        context: a beginning of all prompts that was run before. Prompts are given whole, and positions must lie after
        the context. If the prompts do not fit into one forest, a longer beginning that all share is run once and kept.
        """
        context = context or Context((), {})
        parts = self._parts(prompts, context)
        if len(parts) > 1:
            # Without a kept beginning, every forest would compute the shared tokens again.
            shared = shared_beginning(prompts, min(min(places) for places in positions))
            context = self.keep(prompts[0][len(context.tokens) : shared], context)
            parts = self._parts(prompts, context)
        for part in parts:
            yield from self._states_of(part, prompts, positions, layers, context)

    @halving
    @torch.inference_mode()
    def _states_of(self, part: slice, prompts, positions, layers: Sequence[int], context: Context) -> list[States]:
        """`states` of some of the prompts."""
        begin, found = len(context.tokens), []
        for within, forest in forests([prompt[begin:] for prompt in prompts[part]], self.max_tokens):
            mine = slice(part.start + within.start, part.start + within.stop)
            paths = [
                [path[position - begin] for position in places]
                for path, places in zip(forest.where, positions[mine], strict=True)
            ]
            nodes = sorted({node for path in paths for node in path})
            row = {node: index for index, node in enumerate(nodes)}
            places = Placed(torch.tensor(nodes))
            hidden: dict[int, Tensor] = {}
            with ExitStack() as stack:
                for layer in layers:

                    def capture(module, args, layer=layer, hidden=hidden, places=places):
                        hidden[layer] = args[0][0, places.on(args[0].device)]

                    stack.callback(self.model.blocks[layer].register_forward_pre_hook(capture).remove)
                final = self._forest_states(forest, places, context)
            found.append(States(mine, [[row[node] for node in path] for path in paths], hidden, final))
        return found

    def readings(self, prompts: Sequence[Sequence[int]]) -> Iterator[Readings]:
        """The residual stream and both sub-layers' outputs at the last position, from one pass per forest."""
        for part in cuts(prompts, self.max_tokens):
            yield from self._readings_of(part, prompts)

    @halving
    @torch.inference_mode()
    def _readings_of(self, part: slice, prompts: Sequence[Sequence[int]]) -> list[Readings]:
        """`readings` of some of the prompts."""
        model, found = self.model, []
        for within, forest in forests(prompts[part], self.max_tokens):
            nodes = _ends(forest)
            mine = slice(part.start + within.start, part.start + within.stop)
            seen = Readings(mine, {}, {}, {}, torch.empty(0))
            with ExitStack() as stack:
                for layer, block in enumerate(model.blocks):

                    def before(module, args, layer=layer, nodes=nodes, seen=seen):
                        seen.hidden[layer] = args[0][0, nodes.on(args[0].device)]

                    stack.callback(block.register_forward_pre_hook(before).remove)
                    for into, name in (
                        (seen.attention, model.architecture.attention_output),
                        (seen.mlp, model.architecture.mlp_output),
                    ):

                        def after(module, args, out, layer=layer, nodes=nodes, into=into):
                            out = out[0] if isinstance(out, tuple) else out
                            # Some classes flatten the batch axis on the way through the feed-forward network.
                            out = out.reshape(-1, out.shape[-1])[nodes.on(out.device)]
                            into[layer] = out if model.residual_scale == 1 else out * model.residual_scale

                        stack.callback(block.get_submodule(name).register_forward_hook(after).remove)
                final = self._forest_states(forest, nodes)
            found.append(replace(seen, final=final))
        return found

    @halving
    def _capture(self, prompts, positions: Sequence[int], modules, heads: int = 0) -> Tensor:
        """The first argument of each module at one position of each prompt: [prompts, modules, width] float32.

        heads: number of heads that the argument joins; each head is filled up with zeros to the largest size.
        """
        out: list[OnTheWay] = []
        for part, forest in forests(prompts, self.max_tokens):
            nodes = [path[position] for path, position in zip(forest.where, positions[part], strict=True)]
            nodes = Placed(torch.tensor(nodes))
            captured: dict[int, Tensor] = {}

            with ExitStack() as stack:
                for index, module in enumerate(modules):

                    def capture(module, args, index=index, nodes=nodes, captured=captured):
                        found = args[0][0, nodes.on(args[0].device)].float()
                        if heads:
                            found = found.view(len(found), heads, -1)
                            found = pad(found, (0, self.model.head_dim - found.shape[2])).flatten(1)
                        captured[index] = found

                    stack.callback(module.register_forward_pre_hook(capture).remove)
                self._forest_states(forest, nodes)
            device = self.model.head_device
            out.append(OnTheWay(torch.stack([captured[index].to(device) for index in range(len(modules))], 1)))
        return torch.cat([states.arrived() for states in out])

    @torch.inference_mode()
    def row_states(self, prompts: Sequence[Sequence[int]], rows: Rows) -> Tensor:
        """Final-normed states [prompts, 1 + rows, width] of each unedited prompt and of every row.

        The prompts go through the model together. If one prompt has more rows than `max_rows`, it must be the only one.
        """
        chunks = split(rows, self.model.layers, self.max_rows)
        run = RowPass(self.model, prompts, rows, keep=len(chunks) > 1, explicit=self.explicit)
        return torch.cat([run.first(chunks[0]), *(run.later(chunk) for chunk in chunks[1:])], 1)

    def _batches(self, prompts, rows: Rows) -> Iterator[slice]:
        return batches(prompts, rows, self.model.layers, self.max_rows)

    def _run(self, tokens: Sequence[Sequence[int]] | Tensor, positions: Tensor) -> Tensor:
        """The model's final-normed states. tokens, positions: [prompts, sequence], on the host."""
        device = self.model.input_device
        return self.model.forward(on_device(torch.as_tensor(tokens), device), on_device(positions, device))

    def _parts(self, prompts, context: Context) -> list[slice]:
        return list(cuts([prompt[len(context.tokens) :] for prompt in prompts], self.max_tokens))

    def _unembed(self, states: Tensor, targets: Tensor, probability: bool) -> unembed.Readout:
        return unembed.read(self.model.head, states, targets, self.model.final_softcap, probability, self.wide)

    def _forest_states(self, forest: Forest, nodes: Placed, context: Context | None = None) -> Tensor:
        """Final-normed states [len(nodes), width] of some tokens of a forest."""
        before = len(context.tokens) if context else 0
        state = PassState(
            len(forest),
            ancestors=forest.ancestors,
            depth=forest.depth + before,
            explicit=self.explicit,
            context=context.kept if context else None,
        )
        with running(state):
            states = self._run(forest.tokens[None], state.depth[None])[0]
            return states[nodes.on(states.device)]

    @contextmanager
    def _bias_dropped(self, layer: int | None):
        if layer is None:
            yield
            return
        projection = self.model.projections[layer]
        handle = projection.register_forward_hook(lambda module, args, out: out - module.bias)
        try:
            yield
        finally:
            handle.remove()


def _ends(forest: Forest) -> Placed:
    """The node of every prompt's last token."""
    return Placed(torch.tensor([path[-1] for path in forest.where]))
