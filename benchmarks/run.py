"""`make bench`: the engine against the naive loops, in one process, interleaved, on SmolLM2 with real prompts.

The naive loops are the way of the study's released code: one full forward per head (CIE); a clean and an edited full
forward per setting and layer (sweep); one forward of the whole prompt per answer and setting, with the candidate layers
unembedded at the answer's positions only (DoLa). Edits of answers and passages are compared with a forward each. A
naive run is timed over a sample of its forwards, spread evenly over the whole loop, and scaled to it. Every figure is a
median of `REPEATS` rounds, with the smallest and the largest.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from benchmarks import memory
from benchmarks.dola import compare_dola, cost_of_settings
from benchmarks.edits import compare_edits
from benchmarks.texts import compare_texts
from benchmarks.timing import REPEATS
from benchmarks.vectors import compare_cie, compare_sweep, compare_task_vectors
from offcourse.data.names import RESOURCES
from offcourse.data.passages import neutral
from offcourse.data.prompts import build_prompts
from offcourse.data.questions import load_questions, primer, prompt_text
from offcourse.data.registry import Registry
from offcourse.data.targets import prompt_and_answer
from offcourse.data.task_vector_prompts import build_task_vector_prompts
from offcourse.data.tasks import load_pairs
from offcourse.engine import Engine
from offcourse.errors import OffcourseError
from offcourse.methods.dola import tokenized
from offcourse.models.fetch import prepare
from offcourse.models.load import load
from offcourse.models.tokenizer import Tokenizer

MODEL, TASK = "smollm2-135m-instruct", "present-past"
QUESTIONS = 20
PASSAGES = 12
ITEMS = 4


def main() -> None:
    """Run the benchmarks and print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=["release", "embedded"], default="release")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=["cie", "sweep", "task_vectors", "edits", "texts", "dola", "dola_settings", "memory"],
        help="some of the figures",
    )
    options = parser.parse_args()
    torch.manual_seed(0)
    registry, downloads = Registry.load(), Path("resources/downloads")
    folder = downloads / "models" / MODEL
    if not (folder / "manifest.json").exists():
        prepare(registry.model(MODEL), registry, folder, downloads / "packages")
    model = load(folder, registry.model(MODEL).architecture, "float32")
    tokenizer = Tokenizer(folder)
    pairs = load_pairs(registry.task(TASK), options.data, RESOURCES, downloads)
    settings = dict(
        task=TASK,
        shots=10,
        trials=1,
        test_items=1,
        splits="overlapping",
        sampling="global",
        head_read_position="as_coded",
    )
    frame = build_prompts(pairs, settings, tokenizer.encode, tokenizer.adds_bos)
    prompt = {kind: frame[frame["kind"] == kind].iloc[0] for kind in ("cie", "query")}
    print(f"{MODEL}, {options.data} {TASK}, float32, {torch.get_num_threads()} threads, median of {REPEATS} [min, max]")
    vector_prompts = task_vector_prompts(registry, options.data, downloads, tokenizer)
    row = registry.question_set("truthfulqa" if options.data == "release" else "misconceptions")
    questions = load_questions(row, QUESTIONS, RESOURCES, downloads)
    answers = [
        answer
        for number, question in enumerate(questions)
        for answer in tokenized(tokenizer.encode, prompt_text(row.form, question), question, number)
    ]
    # With the few-shot primer, and without it.
    shared = len(tokenizer.encode(primer()))
    comparisons = {
        "cie": lambda: compare_cie(Engine(model), prompt["cie"].token_ids, int(prompt["cie"].target_id)),
        "sweep": lambda: compare_sweep(Engine(model), prompt["query"].token_ids),
        "task_vectors": lambda: compare_task_vectors(Engine(model), *vector_prompts),
        "edits": lambda: [compare_edits(Engine(model), *of_one(answers, begin)) for begin in (0, shared)],
        "texts": lambda: compare_texts(Engine(model), passages(tokenizer)),
        "dola": lambda: compare_dola(Engine(model), answers),
        "dola_settings": lambda: cost_of_settings(Engine(model), answers),
        "memory": lambda: memory.report(downloads),
    }
    figures = {name: compare() for name, compare in comparisons.items() if name in (options.only or comparisons)}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


def of_one(answers: list, begin: int) -> tuple[list[int], list[list[int]]]:
    """(prompt, answers) of the first question, as token ids. begin: tokens of the prompt that are left out."""
    mine = [answer for answer in answers if answer.question == answers[0].question]
    first = mine[0].positions[0] + 1
    return list(mine[0].ids[begin:first]), [list(answer.ids[answer.positions[0] + 1 :]) for answer in mine]


def passages(tokenizer) -> list[tuple[list[int], list[int]]]:
    """(beginning, continuation) of neutral passages, as token ids."""
    return [prompt_and_answer(tokenizer.encode, one, f" {two}", MODEL, "") for one, two in neutral(PASSAGES)]


def task_vector_prompts(registry, data: str, downloads: Path, tokenizer) -> tuple[list, list]:
    """Queries of task vectors, and the dummy prompts that their vectors are read from, one each."""
    task = registry.task(TASK)
    pairs = load_pairs(task, data, RESOURCES, downloads, "task_vectors")
    settings = dict(task=TASK, shots=5, dummy_queries=1, dev_items=ITEMS, test_items=1, baseline_items=1)
    frame = build_task_vector_prompts(pairs, settings, task.task_vector_match, tokenizer.encode, tokenizer.encode_bare)
    return tuple(list(frame[frame["kind"] == f"tv_dev_{what}"]["token_ids"]) for what in ("query", "dummy"))


if __name__ == "__main__":
    try:
        main()
    except OffcourseError as error:
        sys.exit(f"offcourse: {error}")
