"""The study's passes on one model: their memory on the card, and their time beside the naive loop's."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch

from offcourse.check_gpu.subjects import Subject, prompt
from offcourse.data.rows import Model
from offcourse.engine import Engine, HeadRows, ResidualRows
from offcourse.engine.attention import uninstalled
from offcourse.engine.checks import after_block, in_head
from offcourse.engine.contrast import contrast
from offcourse.engine.edit_hooks import hooks_of
from offcourse.engine.edited import last_states, score_answers
from offcourse.engine.edits import Edit
from offcourse.engine.rounding import Edit as Hooks
from offcourse.models import footprint, shapes
from offcourse.models.load import LanguageModel

# Tokens of a 10-shot prompt and of a query, and the paper's 7 head counts at 8 strengths.
SHOTS, QUERY, EDITS = 97, 7, 56
# Prompts whose rows go through the model together, and prompts of a timed sweep.
TOGETHER, TIMED = 4, 16
# States that predict a token of an answer to DoLa's question, and number of candidate layers.
ANSWERS, CANDIDATES = 60, 16
# Tokens of a question, its answers and tokens of each, and strengths of a steering method, which edits every block in
# turn at the tokens of the answers.
QUESTION, CHOICES, CHOICE, STRENGTHS = 48, 4, 12, 3
SAMPLE, REPEATS = 6, 5


@dataclass(frozen=True)
class Pass:
    """One kind of pass. run: makes the pass. tokens, rows, prompts: its size, from which its memory is planned."""

    name: str
    run: Callable[[], object]
    tokens: int
    rows: int
    prompts: int = 1
    contrasts: bool = False

    def planned(self, row: Model, size: int) -> float:
        """Planned bytes of the pass beside the weights. size: bytes of a number."""
        passing = footprint.of_pass(row, size, self.tokens, self.rows, prompts=self.prompts) + footprint.KERNELS
        return passing + footprint.of_contrast() if self.contrasts else passing


def widest(engine: Engine, row: Model) -> list[Pass]:
    """Passes that fill the engine's `max_rows` and `max_tokens`, for a model with any number of blocks."""
    model, width = engine.model, row.width
    ids = prompt(row, SHOTS)
    edits = max(TOGETHER, engine.max_rows // model.layers)
    vectors = torch.randn(edits, width, generator=torch.Generator().manual_seed(1))
    several = [prompt(row, SHOTS - seed, seed) for seed in range(TOGETHER)]
    shared = ResidualRows(vectors[: edits // TOGETHER], model.layers)
    # Rows of the last block join at the final norm.
    deep = model.layers - 1
    many = [prompt(row, SHOTS, seed) for seed in range(max(1, engine.max_tokens // SHOTS))]
    states = torch.randn(ANSWERS, width, generator=torch.Generator().manual_seed(2))
    states = states.to(model.head_device, model.module.dtype)
    token = torch.arange(ANSWERS) % row.vocabulary
    rows = ResidualRows(vectors, model.layers)
    # Edits of every token of a prompt, as many as one pass holds.
    each = [Edit("residual", "add", "all", {0: vectors[0]})] * (engine.max_tokens // SHOTS)

    def compare():
        hidden = {layer: states.roll(layer + 1, 0) for layer in range(CANDIDATES)}
        return contrast(
            model.head, model.final_softcap, states, hidden, torch.arange(ANSWERS), token, "mean_kl", (0.1,)
        )

    return [
        Pass(
            "rows of edits",
            lambda: engine.read_rows(ids, 5, rows, probability=False),
            SHOTS,
            edits * deep,
        ),
        Pass(
            "rows of several prompts",
            lambda: list(engine.read_rows_each(several, [5] * TOGETHER, shared, probability=False)),
            SHOTS * TOGETHER,
            edits // TOGETHER * deep * TOGETHER,
            prompts=TOGETHER,
        ),
        Pass("a forest of prompts", lambda: engine.read(many, [5] * len(many)), SHOTS * len(many), 0),
        Pass("edits of every token", lambda: last_states(engine, ids, each), SHOTS * (1 + len(each)), 0),
        Pass("DoLa's layers", compare, ANSWERS, 0, contrasts=True),
    ]


def peak(run: Callable[[], object]) -> int | None:
    """Peak bytes on the card during a call, minus the bytes before the call; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    run()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def seconds(run: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Seconds of each of `repeats` calls, after a first call that warms up."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else (lambda: None)
    run()
    found = []
    for _ in range(repeats):
        wait()
        begin = time.perf_counter()
        run()
        wait()
        found.append(time.perf_counter() - begin)
    return found


def operations(row: Model, tokens: int, row_blocks: int, unembedded: int) -> float:
    """Multiplications and additions of a pass's matrix products with weights.

    tokens: tokens of the prompt, which go through every block. row_blocks: sum over rows of the blocks that a row goes
    through. unembedded: states that are multiplied with the whole unembedding.
    """
    of_block = 2 * (shapes.attention_weights(row) + shapes.mlp_weights(row))
    return (tokens * row.layers + row_blocks) * of_block + 2 * unembedded * shapes.unembedding_weights(row)


@torch.inference_mode()
def speed(subject: Subject, model: LanguageModel, rate: float) -> list[dict]:
    """Time causal effects and sweeps, of one prompt and of several, and the naive loop. rate: FLOP/s of products."""
    engine = Engine(model)
    means = torch.randn(model.layers, model.heads, model.head_dim, generator=torch.Generator().manual_seed(3))
    edits = torch.randn(EDITS, model.width, generator=torch.Generator().manual_seed(4))
    shots, query = prompt(subject.row, SHOTS), prompt(subject.row, QUERY)
    cells = [(layer, head) for layer in range(model.layers) for head in range(model.heads)]
    settings = [(layer, edit) for layer in range(model.layers) for edit in range(EDITS)]

    of_shots, of_queries = ([prompt(subject.row, tokens, seed) for seed in range(TIMED)] for tokens in (SHOTS, QUERY))

    def effects(prompts):
        found = engine.read_rows_each(prompts, [5] * len(prompts), HeadRows(means, unedited=1))
        return torch.stack([rows.probability for _, rows in found]).cpu()

    def sweep(prompts):
        found = engine.read_rows_each(prompts, [5] * len(prompts), ResidualRows(edits, model.layers), probability=False)
        return torch.stack([rows.hit for _, rows in found]).cpu()

    def naive_effects():
        with uninstalled(model, "sdpa"):
            for layer, head in cells[:: len(cells) // SAMPLE][:SAMPLE]:
                _last_probabilities(model, shots, in_head(model, layer, head, means[layer, head]))

    def naive_sweep():
        with uninstalled(model, "sdpa"):
            for layer, edit in settings[:: len(settings) // SAMPLE][:SAMPLE]:
                _last_probabilities(model, query, after_block(model, layer, edits[edit], replace=False))

    blocks = sum(model.layers - layer for layer, _ in cells)
    of_effects = operations(subject.row, SHOTS, blocks, len(cells) + 1)
    through = sum(model.layers - 1 - layer for layer, _ in settings)
    of_sweep = operations(subject.row, QUERY, through, len(settings) + 1)
    found = []
    for name, run, prompts, naive, count, work in (
        ("causal effects of every head", effects, of_shots, naive_effects, len(cells), of_effects),
        ("a sweep of every layer and setting", sweep, of_queries, naive_sweep, len(settings), of_sweep),
    ):
        slow = statistics.median(seconds(naive)) / SAMPLE * count
        found.append(_timed(f"{name} on a prompt", lambda r=run, p=prompts: r(p[:1]), slow, count, work, rate))
        found.append(_timed(f"{name}, {TIMED} prompts", lambda r=run, p=prompts: r(p), slow, count, work, rate, TIMED))
    return [*found, _answers(subject, model, engine, rate)]


def _answers(subject: Subject, model: LanguageModel, engine: Engine, rate: float) -> dict:
    """Time a sweep of edits at the tokens of a question's answers: every block at some strengths.

    The naive loop runs the question with its answers, as one batch, for each edit. Its hooks edit the first answer
    alone, which takes as long.
    """
    question = prompt(subject.row, QUESTION)
    answers = [prompt(subject.row, CHOICE + 1, seed)[1:] for seed in range(1, 1 + CHOICES)]
    direction = torch.randn(model.width, generator=torch.Generator().manual_seed(5))
    edits = [
        Edit("residual", "add", "answer", {layer: strength * direction})
        for layer in range(model.layers)
        for strength in range(1, 1 + STRENGTHS)
    ]
    tokens = torch.tensor([[*question, *answer[:-1]] for answer in answers], device=model.input_device)
    sampled = edits[:: len(edits) // SAMPLE][:SAMPLE]

    def naive():
        with uninstalled(model, "sdpa"):
            for edit in sampled:
                with _hung(hooks_of(model, edit, QUESTION, tokens.shape[1])):
                    model.module(tokens, use_cache=False, logits_to_keep=CHOICE).logits.float().log_softmax(-1)

    behind = 1 + CHOICES * (CHOICE - 1)
    through = behind * (model.layers + sum(model.layers - 1 - layer for edit in edits for layer in edit.values))
    work = operations(subject.row, QUESTION - 1, through, behind * (1 + len(edits)))
    slow = statistics.median(seconds(naive)) / len(sampled) * len(edits)
    name = f"a sweep of edits at the tokens of {CHOICES} answers"
    return _timed(name, lambda: score_answers(engine, question, answers, edits), slow, len(edits), work, rate)


def _timed(name: str, run, slow: float, count: int, work: float, rate: float, prompts: int = 1) -> dict:
    """Seconds and ratios of one prompt. slow: seconds of the naive loop over a prompt's `count` edits."""
    quick = statistics.median(seconds(run)) / prompts
    return {
        "pass": name,
        "edits": count,
        "seconds": quick,
        "naive_seconds": slow,
        "times_faster": slow / quick,
        "tflop": work / 1e12,
        "share_of_rate": work / quick / rate,
    }


@contextmanager
def _hung(hooks: Hooks) -> Iterator[None]:
    """Hang an edit into the model, and take it out again."""
    with ExitStack() as stack:
        for handle in hooks():
            stack.callback(handle.remove)
        yield


def _last_probabilities(model: LanguageModel, ids: list[int], edit: Hooks) -> torch.Tensor:
    """Probabilities [vocabulary] of one plain forward with an edit, which is one turn of the naive loop."""
    with _hung(edit):
        tokens = torch.tensor([ids], device=model.input_device)
        return model.module(tokens, use_cache=False).logits[0, -1].float().softmax(-1)


@torch.inference_mode()
def same_hits(subject: Subject, model: LanguageModel, budgets: tuple[int, ...]) -> float:
    """Share of a sweep's hits that differ between values of `max_rows`, whose shapes decide rounding."""
    ids = prompt(subject.row, QUERY)
    edits = torch.randn(EDITS, model.width, generator=torch.Generator().manual_seed(4))
    target = int(Engine(model).predict([ids])[0])
    found = [
        Engine(model, budget).read_rows(ids, target, ResidualRows(edits, model.layers), probability=False)[1].hit
        for budget in budgets
    ]
    return float(torch.stack([hits != found[0] for hits in found[1:]]).float().mean())
