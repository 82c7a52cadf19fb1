"""The work of each step on a model, counted from the registry and the configuration without loading anything.

Counted are operations of matrix products, how often weights are read for them, bytes and exponentials of elementwise
operations, and calls of torch. Lengths of prompts are estimates. docs/plan.md gives formulae and sources.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache

from offcourse.data.names import RESOURCES, STEERING
from offcourse.data.questions import lettered, primer, tracked_questions
from offcourse.data.rows import Model, QuestionSet, is_large
from offcourse.graph.steps import part_of
from offcourse.models import footprint, shapes
from offcourse.plan.rates import Rates
from offcourse.schemas.function_vectors import OTHER_HEADS, OTHER_MEANS, READ_POSITION, READ_POSITIONS, REBUILT
from offcourse.steering import steering
from offcourse.steering.contract import SteeringMethod
from offcourse.study.config import FunctionVectors, Study
from offcourse.study.dola_buckets import candidate_layers

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Tokens of a demonstration and of a query, for function vectors ("Q: word\nA: answer\n\n") and task vectors
# ("example:word->answer\n"). These numbers, and the characters per token of prose and of marked-up lines, are means
# over the default study's tasks and its two tokenizers.
FV_DEMONSTRATION, FV_QUERY, TV_DEMONSTRATION, TV_QUERY = 9, 7, 7, 5
PROSE, MARKUP = 4.6, 3.8  # characters per token
# Tokens of a neutral passage and of its continuation, means over the passages with a tokenizer of 49,152 words.
PASSAGE, CONTINUATION = 49, 36
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


def checking(model: Model) -> Work:
    """The work of a model's self-checks on one short prompt."""
    passes = CHECKS * model.layers
    states = CHECKED * CHECKS
    return Work(token_blocks=CHECKED * passes, block_passes=passes, head_passes=CHECKS, unembedded=states)


def work(
    step: str,
    study: Study,
    model: Model,
    unit,
    budget: int,
    of_tokens: int | None = None,
    slices: Slices = CPU_SLICES,
) -> Work:
    """The work of a step for one unit (task or question set). study: sized for this model (`Study.sized`).

    budget: rows of a pass. of_tokens: tokens of a forest of prompts (None: `budget`).
    """
    of_tokens = of_tokens or budget
    vectors, tasks, layers = study.function_vectors, study.task_vectors, model.layers
    prompt = vectors.shots * FV_DEMONSTRATION + FV_QUERY
    behind = tasks.shots * TV_DEMONSTRATION
    if step == "icl":
        # The prompts of one item are nested: each is a beginning of the longest prompt, and then a query.
        tokens, states = prompt + vectors.shots * FV_QUERY, vectors.test_items * (vectors.shots + 1)
        return forest(vectors.test_items, tokens, model, of_tokens) + unembedding(states, 1, model, SOFTMAX, slices)
    if step == "head_means":
        return forest(vectors.trials, prompt, model, of_tokens)
    if step == "cie":
        # A row begins in the block of its head and goes through this block and all later blocks. Of each layer one row
        # has no edit.
        if model.architecture == "GPTNeoX" and study.protocol.cie_output_bias == "dropped":
            # Without its bias a layer changes the whole prompt, so every layer takes passes of its own.
            passes, per_pass = vectors.trials * layers, model.heads
        else:
            passes, per_pass = vectors.trials, layers * (model.heads + 1)
        run = rows(passes, prompt, per_pass, (layers + 1) / 2, model, budget)
        return run + unembedding(
            per_pass + 1, passes, model, SOFTMAX, slices, together(passes, prompt, per_pass, budget)
        )
    if step in ("fv_sweep", "fv_controls"):
        counts = [k for k in vectors.n_heads if k <= layers * model.heads]
        # The prompts from which controls are built are few compared with the sweep and are not counted.
        edits = len(counts) * len(vectors.strengths) * (vectors.controls_drawn if step == "fv_controls" else 1)
        run = rows(vectors.test_items, FV_QUERY, layers * edits, (layers - 1) / 2, model, budget)
        run += hits(layers * edits + 1, vectors.test_items, FV_QUERY, model, budget, slices)
        for read, times in built_again(vectors).items() if step == "fv_controls" else ():
            for _ in range(times):
                run += work(read, study, model, unit, budget, of_tokens, slices)
        return run
    if step in STEERING:
        count, shots = steering(step).passes(getattr(study, step), vectors.shots, vectors.trials)
        return forest(count, shots * FV_DEMONSTRATION + FV_QUERY, model, of_tokens)
    method, part = part_of(step)
    if part == "sweep":
        return _swept(method, study, model, budget, of_tokens, slices)
    if part == "controls":
        of_control = _swept(method, study, model, budget, of_tokens, slices)
        return sum([of_control] * len(getattr(study, method).controls), Work())
    if part == "draws":
        return _drawn(method, study, model, budget, of_tokens, slices)
    if part == "side_effects":
        return _aside(method, study, model, of_tokens, slices)
    if asked := asking(step):
        return _asked(*asked, study, model, unit, budget, of_tokens, slices)
    if step == "tv_icl":
        items = tasks.baseline_items + tasks.test_items
        tokens = TV_QUERY + tasks.test_items * behind / items
        return forest(items, tokens, model, of_tokens) + unembedding(items, 1, model, MAXIMUM, slices)
    if step == "task_vectors":
        # The dummy queries of one dataset follow shared demonstrations.
        return forest(tasks.dev_items + tasks.test_items, behind + tasks.dummy_queries * TV_QUERY, model, of_tokens)
    if step == "tv_sweep":
        items = tasks.dev_items + tasks.test_items
        run = rows(items, TV_QUERY, layers, (layers - 1) / 2, model, budget)
        return run + unembedding(layers + 1, items, model, MAXIMUM, slices, together(items, TV_QUERY, layers, budget))
    if step == "dola":
        return _dola(study, model, unit, of_tokens, slices)
    if step == "logit_lens":
        number, characters, _, _ = sizes(unit, study.logit_lens.limit)
        run = forest(number, characters / MARKUP, model, of_tokens)
        read = number * (layers + 2)
        numbers = read * model.vocabulary
        whole = Work(
            unembedded=read,
            head_passes=math.ceil(run.block_passes / layers) * (layers + 2),
            numbers=SOFTMAX * numbers,
            exponentials=numbers,
        )
        return run + whole
    return Work()  # no work of its own: apathy is measured in the passes of the logit lens


def swept_edits(method: SteeringMethod, strengths: Sequence[float], layers: int) -> tuple[int, int]:
    """(edits of an item's sweep, tokens of the item that each of them computes anew)."""
    whole = method.positions not in ("last", "answer")
    return len(method.layer_sets(layers)) * len(strengths), FV_QUERY if whole else 1


def _swept(name: str, study: Study, model: Model, budget: int, of_tokens: int, slices: Slices) -> Work:
    """The work of the sweep of a steering method for one task."""
    method, settings, items = steering(name), getattr(study, name), study.function_vectors.test_items
    edits, tokens = swept_edits(method, settings.strengths, model.layers)
    if method.site == "prompt":
        count, shots = method.passes(settings, study.function_vectors.shots, items)
        run = forest(count, shots * FV_DEMONSTRATION + FV_QUERY, model, of_tokens)
        return run + unembedding(count, 1, model, SOFTMAX, slices)
    # An edit of one layer goes through the blocks above, one of all layers through all.
    blocks = model.layers if method.together else (model.layers - 1) / 2
    run = rows(items, FV_QUERY, edits * tokens, blocks, model, budget)
    return run + hits(edits + 1, items, FV_QUERY, model, budget, slices)


def _drawn(name: str, study: Study, model: Model, budget: int, of_tokens: int, slices: Slices) -> Work:
    """The work of the further draws of a steering method: its vectors again, and one edit of every item for each."""
    draws, vectors = getattr(study, name).draws, study.function_vectors
    count, shots = steering(name).passes(getattr(study, name), vectors.shots, vectors.trials)
    run = forest((draws - 1) * count, shots * FV_DEMONSTRATION + FV_QUERY, model, of_tokens)
    run += forest(vectors.test_items * (1 + draws), FV_QUERY, model, of_tokens)
    return run + hits(draws + 1, vectors.test_items, FV_QUERY, model, budget, slices)


def aside(name: str, study: Study) -> list[tuple[float, float, float]]:
    """(texts, tokens of each, states of each that are read) of the side effects of a steering method, for one task.

    Neutral passages, and the few-shot prompts of the other tasks. Of a method that changes the prompt, both have its
    text in front.
    """
    settings, vectors, method = getattr(study, name), study.function_vectors, steering(name)
    others = len(study.tasks_of(name)) - 1
    shots = method.demonstrations(settings) if method.site == "prompt" else 0
    front, prompt = shots * FV_DEMONSTRATION, vectors.shots * FV_DEMONSTRATION + FV_QUERY
    return [(settings.passages, front + PASSAGE, CONTINUATION), (others * vectors.test_items, front + prompt, 1)]


def _aside(name: str, study: Study, model: Model, of_tokens: int, slices: Slices) -> Work:
    """The work of the side effects of a steering method: every text with the edit and without."""
    run = Work()
    for texts, tokens, read in aside(name, study):
        if texts:
            run += forest(2 * texts, tokens, model, of_tokens)
            run += unembedding(math.ceil(2 * texts * read), 1, model, SOFTMAX, slices)
    return run


def asking(step: str) -> tuple[str, str] | None:
    """(steering method, "folds" or "answers") of a step on question sets; None for any other step."""
    method, _, kind = step.rpartition("_")
    return (method, kind) if method in STEERING and kind in ("folds", "answers") else None


@dataclass(frozen=True)
class AskedSizes:
    """Sizes of a question set under a steering method.

    number: questions. prompt, answer: tokens of a prompt and of an answer, that of a prompt without the beginning that
    all prompts share (`shared`). answers: of a question. edits: of a question. anew: tokens of a prompt that an edit
    computes anew. pairs: contrasts of all questions. texts: prompts of a question (several for an instruction).
    """

    number: float
    shared: float
    prompt: float
    answers: float
    answer: float
    edits: int
    anew: float
    pairs: float
    texts: int


def asked_sizes(name: str, study: Study, model: Model, unit: QuestionSet) -> AskedSizes:
    """The sizes of a question set under a steering method. A question counts one pair for two of its answers."""
    method, settings = steering(name), getattr(study, name)
    number, question, answers, answer = sizes(unit, settings.limit)
    shared, prompt = beginning(unit), question / PROSE
    texts, edits, anew = 1, 0, 0.0
    if method.site == "prompt":
        # A demonstration is a question and its best answer.
        texts = 1 + len(settings.strengths)
        prompt += sum(settings.strengths) / texts * (question + answer) / PROSE
    else:
        edits = len(method.layer_sets(model.layers)) * len(settings.strengths)
        anew = 1 if method.positions in ("last", "answer") else shared + prompt
    return AskedSizes(number, shared, prompt, answers, answer / PROSE, edits, anew, number * answers / 2, texts)


def _asked(name: str, kind: str, study: Study, model: Model, unit, budget: int, of_tokens: int, slices: Slices) -> Work:
    """The work of a steering method on one question set: building its vectors (folds), or scoring (answers)."""
    of = asked_sizes(name, study, model, unit)
    method, share = steering(name), DISTINCT.get(unit.form, 1)
    if kind == "folds":
        # Texts of one question share their beginning in a forest, and all of them the primer.
        run = forest(of.number, of.prompt + of.answers * of.answer * share, model, of_tokens)
        return run + (forest(run.block_passes / model.layers, of.shared, model, of_tokens) if of.shared else Work())
    behind = max(1.0, of.answers * of.answer * share)
    run = forest(of.texts * of.number, of.prompt, model, of_tokens)
    run += forest(of.texts, of.shared, model, of_tokens) if of.shared else Work()
    blocks = model.layers if method.together else (model.layers - 1) / 2
    through = of.number * (of.texts * behind * model.layers + of.edits * (of.anew + behind) * blocks)
    passes = of.number * of.texts * math.ceil((1 + of.edits) * (of.anew + behind) / budget)
    seen = of.shared + of.prompt + behind
    run += Work(through, through * seen, block_passes=passes * model.layers)
    return run + unembedding((1 + of.edits) * behind, of.number * of.texts, model, SOFTMAX, slices)


def built_again(vectors: FunctionVectors) -> dict[str, int]:
    """How often the controls of a study take the steps `head_means` and `cie` again, see `methods.fv_controls`.

    What the study itself has read, draw 0 at its own position, is not taken again; what two controls share is taken
    once.
    """
    asked, again = set(vectors.controls), vectors.build_draws - 1
    # Effects are of means at the same position, so means are read wherever effects are measured.
    effects = bool(asked & {READ_POSITION, OTHER_HEADS}) * (1 + again) + bool(asked & {OTHER_MEANS, REBUILT}) * again
    means = bool(asked & set(READ_POSITIONS)) * (1 + again) + bool(asked & {OTHER_HEADS, OTHER_MEANS, REBUILT}) * again
    return {"head_means": means, "cie": effects}


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


def _dola(study: Study, model: Model, unit: QuestionSet, budget: int, by: Slices) -> Work:
    number, question, answers, answer = sizes(unit, study.dola.limit)
    lengths = beginning(unit), question / PROSE, answers, answer / PROSE
    removed = study.protocol.dola_mask == "removed" and by.hit_states is None
    alphas = sum(alpha > 0 for alpha in study.dola.alphas) if removed else 0
    return contrasts(number, *lengths, DISTINCT.get(unit.form, 1), compared(study, model), model, budget, by, alphas)


def beginning(unit: QuestionSet) -> float:
    """Number of tokens of the beginning that all questions of a set share."""
    return len(primer(RESOURCES)) / MARKUP if unit.form == "primer" else 0


def compared(study: Study, model: Model) -> int:
    """Number of layers whose distributions DoLa computes: all candidates and the mature layer."""
    buckets = candidate_layers(study.dola.buckets, model.layers, is_large(model.parameters or 0))
    return 1 + len({layer for members in buckets.values() for layer in members})


def contrasts(
    number: int,
    beginning: float,
    question: float,
    answers: float,
    answer: float,
    distinct: float,
    layers: int,
    model: Model,
    budget: int,
    by: Slices = CPU_SLICES,
    alphas: int = 0,
) -> Work:
    """The work of DoLa on `number` questions after a shared beginning; each question and its answers are one forest.

    beginning, question, answer: numbers of tokens. answers: answers per question. distinct: share of the answers'
    tokens that answers do not share. layers: candidate layers and the mature layer; every state's distributions are
    computed at all of them. alphas: alphas whose normaliser visits the whole vocabulary.
    """
    tokens = question + answers * answer * distinct
    # One state predicts the first tokens of all answers of a question.
    states = 1 + answers * max(0, answer - 1) * distinct
    together = max(1, footprint.LOGIT_BYTES // (4 * layers * model.vocabulary))
    passes = number * math.ceil(states / together)
    stacked = min(states, together) * layers
    slices = math.ceil(model.vocabulary / max(64, by.contrast // (4 * stacked)))
    read = number * states * layers
    logits = read * model.vocabulary
    through = number * tokens * model.layers
    before = beginning * model.layers
    return Work(
        token_blocks=before + through,
        scores=before * beginning + through * (beginning + min(tokens, budget)),
        unembedded=read,
        block_passes=(number * math.ceil(tokens / budget) + math.ceil(beginning / budget)) * model.layers,
        head_passes=passes,
        slices=(3 + alphas) * passes * slices,
        numbers=(CONTRAST + alphas * NORMALISER) * logits,
        exponentials=(CONTRAST_EXPONENTIALS + alphas) * logits,
        reread=passes * slices * stacked * model.width + CONTRAST_MEMORY * logits,
    )


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
