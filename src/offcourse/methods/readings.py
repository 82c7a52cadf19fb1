"""Logit lens and apathy of multiple-choice questions, from one pass per forest of prompts (paper section 3.2)."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from offcourse.data.names import RESOURCES
from offcourse.data.questions import Lettered, lettered, load_questions
from offcourse.data.rows import QuestionSet
from offcourse.engine import Engine
from offcourse.engine.placed import OnTheWay, on_device
from offcourse.engine.run import Readings

# What `lens` and `apathy` measure of each question and layer.
LENS = ("top", "correct", "incorrect", "predicted")
APATHY = ("mha", "mlp")


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
    # All passes are started before the first numbers are waited for.
    started = [
        (part.prompts, lens(context.engine, part, letters[part.prompts]), apathy(part))
        for part in context.engine.readings(token_ids)
    ]
    lenses = [lens_table(prompts, numbers.arrived()) for prompts, numbers, _ in started]
    apathies = [apathy_table(prompts, numbers.arrived()) for prompts, _, numbers in started]
    return Measured(*(pd.concat(frames, ignore_index=True) for frames in (lenses, apathies)))


def letter_tokens(encode_bare, prompt: Lettered) -> tuple[int, list[int]]:
    """(first token of the right letter, last token of each other letter), as in the authors' code."""
    return encode_bare(f" {prompt.correct}")[0], [encode_bare(f" {letter}")[-1] for letter in prompt.incorrect]


@torch.inference_mode()
def lens(engine: Engine, part: Readings, letters: list[tuple[int, list[int]]]) -> OnTheWay:
    """Probabilities that the unembedding gives at every layer: [questions, layers + 1, 4], in the order of `LENS`.

    Layer n is the model's own output; states of layers below n pass the final norm first. letters: see `letter_tokens`.
    """
    model = engine.model
    predicted = _probabilities(model, part.final).argmax(-1, keepdim=True)
    most = max(len(others) for _, others in letters)
    correct = on_device(torch.tensor([[letter] for letter, _ in letters]), predicted.device)
    # A question with fewer letters repeats its first, which moves no maximum.
    padded = [others + others[:1] * (most - len(others)) for _, others in letters]
    incorrect = on_device(torch.tensor(padded), predicted.device)
    layers = []
    for layer in range(model.layers + 1):
        # The last state comes from the model's own pass, which has normed it already.
        states = part.final if layer == model.layers else model.normed(part.hidden[layer])
        probability = _probabilities(model, states)
        of_letters = (probability.gather(1, tokens).amax(-1) for tokens in (correct, incorrect, predicted))
        layers.append(torch.stack([probability.amax(-1), *of_letters], -1))
    return OnTheWay(torch.stack(layers, 1))


def lens_table(prompts: slice, numbers: Tensor) -> pd.DataFrame:
    """The numbers of `lens` per question and layer. prompts: the questions.

    Columns: `top`, the largest probability of any token; `correct`, of the right letter; `incorrect`, the largest of
    the other letters; `predicted`, of the token that the model predicts at layer n.
    """
    return _per_layer(prompts, numbers, LENS)


def _probabilities(model, states: Tensor) -> Tensor:
    logits = model.head(states.to(model.head_device)).float()
    if model.final_softcap is not None:
        logits = torch.tanh(logits / model.final_softcap) * model.final_softcap
    return logits.softmax(-1)


@torch.inference_mode()
def apathy(part: Readings) -> OnTheWay:
    """How little a sub-layer moves the residual stream (Eq. 6): [questions, blocks, 2], of attention and feed-forward.

    mha: (1 + cos(x, a)) (|x| - |a|) for the block input x and the attention output a. mlp: this expression for x + a
    and the feed-forward output. As in the authors' code, outputs are taken at the projections, before any norm, and x +
    a is used even where attention and feed-forward run side by side.
    """
    layers = []
    for layer in sorted(part.hidden):
        before, attention, mlp = (states[layer].float() for states in (part.hidden, part.attention, part.mlp))
        moved = torch.stack([_moved(before, attention), _moved(before + attention, mlp)], -1)
        layers.append(moved.to(part.final.device, non_blocking=True))
    return OnTheWay(torch.stack(layers, 1))


def apathy_table(prompts: slice, numbers: Tensor) -> pd.DataFrame:
    """The numbers of `apathy` per question and block. prompts: the questions."""
    return _per_layer(prompts, numbers, APATHY)


def _per_layer(prompts: slice, numbers: Tensor, columns: tuple[str, ...]) -> pd.DataFrame:
    """`numbers` [questions, layers, columns] as a table with a row per question and layer."""
    index = pd.MultiIndex.from_product(
        [range(prompts.start, prompts.stop), range(numbers.shape[1])], names=["question", "layer"]
    )
    return pd.DataFrame(numbers.flatten(0, 1).numpy(), index, list(columns)).reset_index()


def _moved(stream: Tensor, update: Tensor) -> Tensor:
    cosine = torch.nn.functional.cosine_similarity(stream, update, dim=-1)
    return (1 + cosine) * (stream.norm(dim=-1) - update.norm(dim=-1))
