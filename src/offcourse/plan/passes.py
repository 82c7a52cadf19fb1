"""What a pass through a model costs, and how long prompts and questions are: the parts of a step's work (`plan.costs`).

Counted are operations of matrix products, how often weights are read for them, bytes and exponentials of elementwise
operations, and calls of torch. Lengths of prompts are estimates. docs/plan.md gives formulae and sources.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache

from offcourse.data.names import RESOURCES
from offcourse.data.questions import lettered, primer, tracked_questions
from offcourse.data.rows import Model, QuestionSet
from offcourse.models import footprint, shapes
from offcourse.plan.rates import Rates

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Tokens of a demonstration and of a query, for function vectors ("Q: word\nA: answer\n\n") and task vectors
# ("example:word->answer\n"). These numbers, and the characters per token of prose and of marked-up lines, are means
# over the default study's tasks and its two tokenizers.
FV_DEMONSTRATION, FV_QUERY, TV_DEMONSTRATION, TV_QUERY = 9, 7, 7, 5
PROSE, MARKUP = 4.6, 3.8  # characters per token
# Share of a question's answer tokens that are not in a beginning shared with another answer.
DISTINCT = {"primer": 0.9, "continuation": 0.72}
# Released question sets, which may not be downloaded yet: number of questions, characters of a question, answers per
# question, characters of an answer.
RELEASED = {
    "truthfulqa": (817, 59.2, 6209 / 817, 50.2),
    "factor-news": (1036, 1213.2, 4, 180.4),
    "truthfulqa-mc": (817, 346.2, 0, 0),
}
# Any other released set is assumed to be as large as the paper's set of its form; the plan says so (`assumed`).
OF_FORM = {"primer": "truthfulqa", "continuation": "factor-news", "letters": "truthfulqa-mc"}


@dataclass(frozen=True)
class Slices:
    """Sizes of the engine's slices. words, states: of one slice of the unembedding.

    hit_states: states of a slice when only hits of one target are computed; states that a word beats are then dropped.
    None if they are read to the end, of all targets together. contrast: bytes of a slice of DoLa's logits.
    """

    words: int
    states: int
    hit_states: int | None
    contrast: int


CPU_SLICES = Slices(1024, 512, 2048, 1 << 20)
GPU_SLICES = Slices(footprint.WORDS, footprint.STATES, None, footprint.SLICE)
SLICES = {"cpu": CPU_SLICES, "gpu": GPU_SLICES}

# When a CPU computes only hits. HITS: expected share of rows that hit. SLICES_SEEN: average number of vocabulary slices
# that a non-hit row is compared with before a larger logit rules it out.
HITS, SLICES_SEEN = 0.05, 1.3
# Calls of torch in a block, hooks included, and in a slice of the unembedding.
BLOCK_CALLS, SLICE_CALLS = 80, 12
# Numbers read or written per number of a tensor in elementwise operations. STREAM: two norms and two sums of the
# residual stream. HEADS: rotation and copies of queries, keys and values. GATE: activation and gate. SCORES: scale,
# mask and softmax of attention's weights. Per logit: MAXIMUM, a maximum; SOFTMAX, also its difference, exponential and
# sum; CONTRAST, the operations of `engine/contrast.py`.
STREAM, HEADS, GATE, SCORES = 24, 10, 5, 8
MAXIMUM, SOFTMAX, CONTRAST, CONTRAST_EXPONENTIALS = 1, 8, 41, 4
# The logits of a contrast do not fit the caches: they are written, read, normalised in place, and read again.
CONTRAST_MEMORY = 5
# Numbers of a normaliser over the whole vocabulary, which a GPU computes for each alpha (protocol dola_mask: removed).
NORMALISER = 10
# Forwards of a model's check (self-checks, and the engine against the plain model), and tokens and rows of one forward.
CHECKS, CHECKED = 11, 29
# Reading one word of a tokenizer's vocabulary takes as long as this many calls of torch.
WORD_CALLS = 1.5


@dataclass(frozen=True)
class Work:
    """The work of one step on a model, for one unit or summed over several.

    token_blocks: sum over tokens of the blocks that a token goes through. scores: attention scores per head (sum over
    tokens and blocks of the tokens attended to). unembedded: states that are multiplied with the whole unembedding.
    block_passes: how often a block's weights are read. head_passes: how often the unembedding is read, in `slices`.
    starts: calls of torch beside those of blocks and slices.
    numbers: numbers read or written over the vocabulary. exponentials: exponentials over the vocabulary. reread: values
    other than weights that are read from main memory: hidden states (once per vocabulary slice) and logits too large
    for the cache.
    """

    token_blocks: float = 0
    scores: float = 0
    unembedded: float = 0
    block_passes: float = 0
    head_passes: float = 0
    slices: float = 0
    numbers: float = 0
    exponentials: float = 0
    reread: float = 0
    starts: float = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def flops(self, model: Model) -> float:
        """Floating-point operations of matrix products: two per weight and token, and attention's two products."""
        of_block = 2 * (shapes.attention_weights(model) + shapes.mlp_weights(model))
        of_scores = 4 * model.heads * model.head_dim * self.scores
        return self.token_blocks * of_block + of_scores + self.unembedded * 2 * shapes.unembedding_weights(model)

    def weight_bytes(self, model: Model, size: int) -> float:
        """Bytes of weights that matrix products read. size: bytes of a number."""
        of_block = shapes.attention_weights(model) + shapes.mlp_weights(model)
        read = self.block_passes * of_block + self.head_passes * shapes.unembedding_weights(model) + self.reread
        return size * read

    def elementwise_bytes(self, model: Model, size: int) -> float:
        """Bytes that elementwise operations read and write; over the vocabulary they run in float32."""
        heads = model.head_dim * (model.heads + 2 * model.kv_heads)
        of_token = STREAM * model.width + HEADS * heads + GATE * model.mlp_width
        return size * self.token_blocks * of_token + 4 * (SCORES * model.heads * self.scores + self.numbers)

    def all_exponentials(self, model: Model) -> float:
        """Exponentials of the activations, of attention's softmax and over the vocabulary."""
        return self.exponentials + model.heads * self.scores + model.mlp_width * self.token_blocks

    def calls(self) -> float:
        """Number of torch operations that are started."""
        return BLOCK_CALLS * self.block_passes + SLICE_CALLS * self.slices + self.starts

    def seconds(self, model: Model, dtype: str, rates: Rates, cards: int = 1) -> float:
        """Seconds of the work: the sum of all parts. On a GPU some parts overlap, so the sum is too large there.

        cards: cards that hold the model and compute at the same time. A card begins the next pass while the cards
        behind it compute this one, so only the first and the last pass of a step leave cards without work.
        """
        size = DTYPE_BYTES[dtype]
        computing = (
            self.flops(model) / rates.products(dtype)
            + self.weight_bytes(model, size) / rates.memory
            + self.elementwise_bytes(model, size) / rates.elementwise
            + self.all_exponentials(model) / rates.exponentials
        )
        if cards > 1 and computing:
            passes = max(1.0, self.block_passes / model.layers)
            computing *= (passes + cards - 1) / (passes * cards)
        return computing + self.calls() * rates.call


def forest(items: float, tokens: float, model: Model, budget: int) -> Work:
    """The work of passes over `items` items with `tokens` new tokens each, without the unembedding.

    Passes are filled with whole items up to `budget` tokens. Attention computes scores between all tokens of a pass and
    masks those of other prompts.
    """
    together = min(items, max(1, budget // tokens))
    through = items * tokens * model.layers
    return Work(through, through * together * tokens, block_passes=math.ceil(items / together) * model.layers)


def together(items: int, prompt: float, count: float, budget: int) -> int:
    """Number of prompts that go through the model together with their rows. count: rows of an item."""
    return max(1, min(items, int(budget // (count + prompt))))


def rows(items: int, prompt: int, count: int, blocks: float, model: Model, budget: int) -> Work:
    """The work of prompts and their rows (edited last tokens).

    As many items as the budget allows go together. If one item has more rows than that, the item's first pass carries
    the prompt and rows, and later passes carry rows alone. count: rows of an item. blocks: blocks that a row goes
    through.
    """
    passes = math.ceil(items / together(items, prompt, count, budget)) * max(1, math.ceil(count / budget))
    through = items * (prompt * model.layers + count * blocks)
    return Work(through, through * prompt, block_passes=passes * model.layers)


def unembedding(
    states: float, times: float, model: Model, numbers: int, by: Slices = CPU_SLICES, at_once: int = 1
) -> Work:
    """The work of unembedding `states` states slice by slice, `times` times. numbers: `MAXIMUM` or `SOFTMAX`.

    at_once: how many of these times share a slice.
    """
    passes = math.ceil(times / at_once) * math.ceil(states * at_once / by.states)
    all_logits = times * states * model.vocabulary
    return Work(
        unembedded=times * states,
        head_passes=passes,
        slices=passes * math.ceil(model.vocabulary / by.words),
        numbers=numbers * all_logits,
        exponentials=all_logits if numbers == SOFTMAX else 0,
    )


def hits(states: float, items: int, prompt: int, model: Model, budget: int, by: Slices = CPU_SLICES) -> Work:
    """The work of finding the hits of the `states` states of each item slice by slice. prompt: tokens of an item."""
    if by.hit_states is None:
        return unembedding(states, items, model, MAXIMUM, by, together(items, prompt, states - 1, budget))
    share = min(1, HITS + SLICES_SEEN * by.words / model.vocabulary)
    passes = items * math.ceil(states / by.hit_states)
    return Work(
        unembedded=items * states * share,
        head_passes=passes,
        slices=passes * math.ceil(model.vocabulary / by.words),
        numbers=items * states * share * model.vocabulary * MAXIMUM,
    )


def beginning(unit: QuestionSet) -> float:
    """Number of tokens of the beginning that all questions of a set share."""
    return len(primer(RESOURCES)) / MARKUP if unit.form == "primer" else 0


def assumed(unit: QuestionSet) -> str:
    """The question set whose size stands in for a released set that was never counted; "" for every other set."""
    return OF_FORM[unit.form] if unit.fetched and unit.name not in RELEASED else ""


@cache
def sizes(unit: QuestionSet, limit: int | None) -> tuple[float, float, float, float]:
    """(number of questions, characters of a question, answers per question, characters of an answer); means."""
    if unit.fetched:
        number, *rest = RELEASED[assumed(unit) or unit.name]
        return min(number, limit or number), *rest
    questions, _ = tracked_questions(unit, limit, 0, RESOURCES)
    if unit.form == "letters":
        return len(questions), _mean([len(prompt.text) for prompt in lettered(questions)]), 0, 0
    answers = [answer for question in questions for _, answer in question.answers]
    return (
        len(questions),
        _mean([len(question.text) for question in questions]),
        len(answers) / len(questions),
        _mean([len(answer) + 1 for answer in answers]),
    )


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)
