"""Logit lens and apathy of multiple-choice questions, from one pass per forest of prompts (paper section 3.2)."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from offcourse.data.names import RESOURCES
from offcourse.data.questions import Lettered, lettered, load_questions
from offcourse.data.rows import QuestionSet
from offcourse.engine import Engine
from offcourse.engine.run import Readings


@dataclass
class Measured:
    """Both results of one question set, under `LOGIT_LENS` and `APATHY`."""

    lens: pd.DataFrame
    apathy: pd.DataFrame


def measure(context, row: QuestionSet) -> Measured:
    """Logit lens and apathy of a question set. One pass measures both, and the job caches them for its second step."""
    return context.once(("readings", row.name), lambda: _measure(context, row))


def _measure(context, row: QuestionSet) -> Measured:
    questions = load_questions(row, context.parameters["limit"], RESOURCES, context.layout.downloads)
    prompts = lettered(questions)
    encode = context.tokenizer.encode
    token_ids = [encode(prompt.text, f"{row.name}, question {n}") for n, prompt in enumerate(prompts, start=1)]
    letters = [letter_tokens(context.tokenizer.encode_bare, prompt) for prompt in prompts]
    lenses, apathies = [], []
    for part in context.engine.readings(token_ids):
        lenses.append(lens(context.engine, part, letters[part.prompts]))
        apathies.append(apathy(part))
    return Measured(*(pd.concat(frames, ignore_index=True) for frames in (lenses, apathies)))


def letter_tokens(encode_bare, prompt: Lettered) -> tuple[int, list[int]]:
    """(first token of the right letter, last token of each other letter), as in the authors' code."""
    return encode_bare(f" {prompt.correct}")[0], [encode_bare(f" {letter}")[-1] for letter in prompt.incorrect]


@torch.inference_mode()
def lens(engine: Engine, part: Readings, letters: list[tuple[int, list[int]]]) -> pd.DataFrame:
    """Probabilities that the unembedding gives at every layer, per question; layer n is the model's own output.

    States of layers below n pass the final norm first. Columns: `top`, the largest probability of any token; `correct`,
    of the right letter; `incorrect`, the largest of the other letters; `predicted`, of the token that the model
    predicts at layer n.
    """
    model = engine.model
    predicted = _probabilities(model, part.final).argmax(-1)
    layers = []
    for layer in range(model.layers + 1):
        # The last state comes from the model's own pass, which has normed it already.
        states = part.final if layer == model.layers else model.normed(part.hidden[layer])
        probability = _probabilities(model, states)
        layers.append(
            torch.stack(
                [
                    torch.stack([row.max(), row[correct], row[others].max(), row[final]])
                    for row, (correct, others), final in zip(probability, letters, predicted, strict=True)
                ]
            ).cpu()
        )
    numbers = torch.stack(layers, 1)
    index = pd.MultiIndex.from_product(
        [range(part.prompts.start, part.prompts.start + len(letters)), range(model.layers + 1)],
        names=["question", "layer"],
    )
    columns = ["top", "correct", "incorrect", "predicted"]
    return pd.DataFrame(numbers.flatten(0, 1).numpy(), index, columns).reset_index()


def _probabilities(model, states: Tensor) -> Tensor:
    logits = model.head(states.to(model.head_device)).float()
    if model.final_softcap is not None:
        logits = torch.tanh(logits / model.final_softcap) * model.final_softcap
    return logits.softmax(-1)


@torch.inference_mode()
def apathy(part: Readings) -> pd.DataFrame:
    """How little a sub-layer moves the residual stream (Eq. 6), per question and block.

    mha: (1 + cos(x, a)) (|x| - |a|) for the block input x and the attention output a. mlp: this expression for x + a
    and the feed-forward output. As in the authors' code, outputs are taken at the projections, before any norm, and x +
    a is used even where attention and feed-forward run side by side.
    """
    rows = []
    for layer in sorted(part.hidden):
        before = part.hidden[layer].float().cpu()
        attention, mlp = part.attention[layer].float().cpu(), part.mlp[layer].float().cpu()
        between = before + attention
        for index, (mha, feed) in enumerate(zip(_moved(before, attention), _moved(between, mlp), strict=True)):
            rows.append((part.prompts.start + index, layer, float(mha), float(feed)))
    frame = pd.DataFrame(rows, columns=["question", "layer", "mha", "mlp"]).astype({"mha": "float32", "mlp": "float32"})
    return frame.sort_values(["question", "layer"], ignore_index=True)


def _moved(stream: Tensor, update: Tensor) -> Tensor:
    cosine = torch.nn.functional.cosine_similarity(stream, update, dim=-1)
    return (1 + cosine) * (stream.norm(dim=-1) - update.norm(dim=-1))
