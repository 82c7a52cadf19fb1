"""Side effects of one edit on neutral passages: passages together against two forwards of each, plain and edited."""

import torch

from benchmarks.timing import SAMPLE, compared
from offcourse.engine import Engine
from offcourse.engine.attention import uninstalled
from offcourse.engine.edits import Edit
from offcourse.engine.together import Text, read_texts

STRENGTH = 4


@torch.inference_mode()
def compare_texts(engine: Engine, texts: list[Text]) -> dict:
    """A vector added where each token behind the prompt is predicted, after the first layer or after a middle one."""
    model = engine.model
    direction = STRENGTH * torch.randn(model.width, generator=torch.Generator().manual_seed(1))
    edits = [Edit("residual", "add", "answer", {layer: direction}) for layer in (0, model.layers // 2)]
    grid = [(edit, text) for edit in edits for text in texts]
    sample = grid[:: len(grid) // SAMPLE][:SAMPLE]

    def forward(edit: Edit | None, prompt: list[int], rest: list[int]) -> float:
        def add(module, args, out):
            hidden = (out[0] if isinstance(out, tuple) else out).clone()
            hidden[:, len(prompt) - 1 :] += direction
            return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

        handle = model.blocks[min(edit.values)].register_forward_hook(add) if edit else None
        states = model.module.base_model(torch.tensor([prompt + rest[:-1]]), use_cache=False).last_hidden_state[0]
        if handle:
            handle.remove()
        logs = model.head(states[len(prompt) - 1 :]).log_softmax(-1)
        return float(logs[range(len(rest)), rest].sum())

    def naive(cells=sample) -> torch.Tensor:
        with uninstalled(model, "sdpa"):
            return torch.tensor([[forward(each, *text) for each in (None, edit)] for edit, text in cells])

    def fast() -> torch.Tensor:
        return torch.stack([scores for edit in edits for _, scores in read_texts(engine, texts, [edit])])

    places = range(0, len(grid), 5)
    expected, got = naive([grid[place] for place in places]), fast()[list(places)]
    name = f"{len(texts)} passages under {len(edits)} edits, one after the other"
    return compared(name, naive, fast, expected, got, len(grid) / len(sample))
