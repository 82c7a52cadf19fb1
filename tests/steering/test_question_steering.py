"""Steering on question sets, on a tiny random model: folds, vectors, scores and the table, against plain loops."""

import dataclasses
import json
import shutil

import numpy as np
import oracles
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from test_caa import after_blocks
from transformers import AutoTokenizer

from offcourse.analysis.cells import recompute
from offcourse.data.asked import asked_text
from offcourse.data.contrasts import Contrasts
from offcourse.data.folds import contrasts_of, folds, stock_answers
from offcourse.data.questions import evaluated, prompt_text
from offcourse.data.registry import Registry
from offcourse.data.rows import QuestionSet
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS, key_parts, steps_of
from offcourse.graph.product import pages
from offcourse.graph.products import PRODUCTS, products_of, tables_of
from offcourse.graph.study_files import results_of
from offcourse.layout import Layout
from offcourse.methods import question_steering
from offcourse.models.fetch import prepare
from offcourse.models.load import load
from offcourse.plan.jobs import work
from offcourse.run.context import StepContext
from offcourse.run.job import run_step
from offcourse.run.products import code_of
from offcourse.schemas.io import read_parquet
from offcourse.schemas.questions import DOLA, STEERED_ANSWERS
from offcourse.steering import steering
from offcourse.study.check import check_study
from offcourse.study.config import load_study
from offcourse.tables.methods_questions import COLUMNS, write

KNOWN = Registry.load()
LIMIT = 6
SECTIONS = {
    "caa": {"strengths": [1, 8]},
    "mean_difference": {"strengths": [2]},
    "first_component": {"strengths": [2]},
    "in_context_vectors": {"demonstrations": 4, "strengths": [0.5]},
    "inference_time_intervention": {"heads": 5, "strengths": [5, 30]},
    "prompting": {"strengths": [0, 2]},
}
SETS = ["misconceptions", "passages", "behaviours"]
STUDY = {"study": "one", "models": ["tiny"], "methods": ["dola", *SECTIONS]}
STUDY |= {"dola": {"questions": SETS[:2], "limit": LIMIT, "alphas": [0.0]}}
# Two methods whose edits are those of others run on one set.
ON = {name: SETS[1:2] if name in ("mean_difference", "first_component") else SETS for name in SECTIONS}
STUDY |= {name: section | {"questions": ON[name], "limit": LIMIT} for name, section in SECTIONS.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(model, encode, study, registry, layout), with the scores of every method on every set."""
    registry, layout = KNOWN, Layout("one", tmp_path_factory.mktemp("asked"))
    row = dataclasses.replace(registry.model("tiny-llama"), name="tiny")
    registry = dataclasses.replace(registry, models={"tiny": row})
    study = load_study(STUDY)
    check_study(study, registry)
    prepare(row, registry, layout.model_folder("tiny"), layout.downloads)
    for step in steps_of(study, "tiny"):
        run_step(step, study, registry, layout, "tiny", threads=1)
    encode = AutoTokenizer.from_pretrained(layout.model_folder("tiny"))
    model = load(layout.model_folder("tiny"), "Llama", "float32")
    return model, lambda text: encode(text).input_ids, study, registry, layout


def asked(made, name: str):
    """(questions, shots) of a set."""
    return evaluated(made[3].question_set(name), LIMIT, int(made[2].protocol.factor_shots))


def scores(made, method: str, name: str) -> pd.DataFrame:
    return read_parquet(made[4].artefact(f"{method}_answers", ".parquet", "tiny", name), STEERED_ANSWERS)


def plain(made, prompt: str, answer: str, edit=None) -> float:
    """The log-probability of an answer from one whole forward. edit: (positions, site, operation, values)."""
    model, encode = made[:2]
    before, whole = encode(prompt), encode(f"{prompt} {answer}")
    length = len(before)
    assert whole[:length] == before
    if edit:
        positions, *rest = edit
        places = {"last": [length - 1], "answer": range(length - 1, len(whole)), "all": range(len(whole))}[positions]
        logits = oracles.edited(model, whole, list(places), *rest)
    else:
        logits = oracles.logits(model, whole)
    logs = logits.double().log_softmax(-1)
    return float(sum(logs[place - 1, whole[place]] for place in range(length, len(whole))))


def edit_of(method: str, vectors: torch.Tensor, strength: float, layer: int):
    """An edit in the words of each publication."""
    together = {place: strength * vectors[place] for place in range(len(vectors))}
    one = {layer: strength * vectors[layer]}
    return {
        "caa": ("answer", "residual", "add", one),
        "mean_difference": ("all", "residual", "add", one),
        "first_component": ("all", "residual", "add", one),
        "in_context_vectors": ("all", "residual", "add_keeping_norm", together),
        "inference_time_intervention": ("answer", "heads", "add", together),
    }[method]


@pytest.mark.parametrize(
    ("method", "name"), [(method, name) for method, sets in ON.items() for name in sets if method != "prompting"]
)
def test_scores_are_those_of_one_plain_forward_per_answer_and_edit(made, method, name):
    """Each question is judged by the vectors of the fold that it is not in."""
    row, (questions, shots) = made[3].question_set(name), asked(made, name)
    stored = load_file(made[4].artefact(f"{method}_folds", ".safetensors", "tiny", name))
    assert stored["fold"].tolist() == folds(name, questions).tolist()
    assert not torch.equal(stored["vectors_0"], stored["vectors_1"])
    frame = scores(made, method, name)
    layers = 1 if steering(method).together else made[0].layers
    assert len(frame) == sum(len(q.answers) for q in questions) * (1 + layers * len(SECTIONS[method]["strengths"]))
    some = frame[frame["question"].isin([0, 3]) & (frame["layer"] <= 1)].groupby(["strength", "layer"]).head(3)
    for each in some.itertuples():
        text, (kind, answer) = (
            asked_text(row.form, questions[each.question], shots),
            questions[each.question].answers[each.answer],
        )
        assert kind == each.kind and each.fold == stored["fold"][each.question]
        edit = None
        if each.layer >= 0:
            edit = edit_of(method, stored[f"vectors_{1 - each.fold}"], each.strength, each.layer)
        assert each.score == pytest.approx(plain(made, text, answer, edit), rel=1e-4, abs=1e-3)


@pytest.mark.parametrize(
    ("method", "name"), [(method, name) for method, sets in ON.items() for name in sets if name in SETS[:2]]
)
def test_the_unsteered_score_is_that_of_dola_without_a_contrast(made, method, name):
    base = read_parquet(made[4].artefact("dola", ".parquet", "tiny", name), DOLA)
    base = base[base["variant"] == "base"].set_index(["question", "answer", "kind", "tokens"])["score"]
    mine = scores(made, method, name)
    mine = mine[mine["layer"] == -1].set_index(["question", "answer", "kind", "tokens"])["score"]
    assert len(mine) == len(base)
    np.testing.assert_allclose(mine, base.loc[mine.index], rtol=1e-5)


@pytest.mark.parametrize("name", SETS)
def test_prompting_puts_the_description_and_questions_of_the_other_fold_in_front(made, name):
    row, (questions, shots) = made[3].question_set(name), asked(made, name)
    frame, fold = scores(made, "prompting", name), folds(name, questions)
    for strength in (0, 2):
        for number in (0, 3):
            others = [question for question, where in zip(questions, fold, strict=True) if where != fold[number]]
            text = asked_text(row.form, questions[number], shots, row.description, others[:strength])
            assert text.startswith(f"{row.description}.\n\n")
            assert all(f"{each.text}" in text and each.best in text for each in others[:strength])
            mine = frame[(frame["layer"] == 0) & (frame["strength"] == strength) & (frame["question"] == number)]
            expected = [plain(made, text, answer) for _, answer in questions[number].answers]
            assert mine["score"].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_vectors_are_built_from_the_answers_of_one_fold(made):
    """CAA's: the mean difference of plain last-token states of true and false answers."""
    model, encode = made[:2]
    row, (questions, _) = made[3].question_set("misconceptions"), asked(made, "misconceptions")
    fold, stock = folds(row.name, questions), stock_answers(questions)
    assert not stock
    built = load_file(made[4].artefact("caa_folds", ".safetensors", "tiny", row.name))["vectors_1"]
    found = []
    for question, where in zip(questions, fold, strict=True):
        pairs = list(zip(question.true, question.false, strict=False)) if where == 1 else []
        for true, false in pairs:
            texts = [f"{prompt_text(row.form, question)} {answer}" for answer in (true, false)]
            states = [after_blocks(model, encode(text)) for text in texts]
            found.append(states[0] - states[1])
    torch.testing.assert_close(built, torch.stack(found).mean(0), rtol=1e-4, atol=1e-4)


def test_of_lettered_answers_caa_reads_the_letter(made):
    """As Rimsky et al. do: the token of the letter, which is the one before the closing bracket."""
    model, encode = made[:2]
    pairs = [("Which one? (A)", "Which one? (B)"), ("And now? (B)", "And now? (A)"), ("Is it so? (C)", "Is it so? (A)")]
    found = []
    for texts in pairs:
        letters = [after_blocks(model, encode(text.removesuffix(")"))) for text in texts]
        found.append(letters[0] - letters[1])
        assert all(encode(text)[:-1] == encode(text.removesuffix(")")) for text in texts)
    context = StepContext(STEPS["caa_folds"], made[2], made[3], made[4], "tiny", threads=1)
    built = steering("caa").from_contrasts(context, Contrasts("letters", pairs))
    torch.testing.assert_close(built, torch.stack(found).mean(0), rtol=1e-4, atol=1e-4)


def test_a_component_of_one_pair_is_refused(made):
    context = StepContext(STEPS["in_context_vectors_folds"], made[2], made[3], made[4], "tiny", threads=1)
    with pytest.raises(OffcourseError, match="one has 1 pair of texts, and a principal component .* needs two or more"):
        steering("in_context_vectors").from_contrasts(context, Contrasts("one", [("right", "wrong")]))


def test_every_prompt_is_that_of_dola(made):
    for name in SETS[:2]:
        row, (questions, shots) = made[3].question_set(name), asked(made, name)
        assert [asked_text(row.form, q, shots) for q in questions] == [
            prompt_text(row.form, q, shots) for q in questions
        ]


def written(made, rule: str, out, **protocol) -> None:
    """Write a table of the study, under another protocol."""
    _, _, study, registry, layout = made
    (layout.results / "tiny/model.json").write_text('{"parameters": 300000}')
    study = study.model_copy(update={"protocol": study.protocol.model_copy(update=protocol)})
    product = PRODUCTS[rule]
    code_of(product)(product.view(results_of(study, registry, layout)), out)


@pytest.fixture(scope="module")
def table(made):
    out = made[4].results / "tables"
    written(made, "table_methods_questions", out)
    return pd.read_parquet(out / "table_methods_questions.parquet")


def test_the_table_is_computed_again_from_its_sources(made, table):
    rows = {f"{steering(m).label}, tiny ({name})" for m in SECTIONS for name in ON[m]}
    assert set(table["row"]) == rows | {f"DoLa, tiny ({name})" for name in SETS[:2]}
    for _, cell in table.iterrows():
        assert recompute(made[4].results, cell) == pytest.approx(cell["value"], abs=1e-12)
        assert cell["ci_low"] <= cell["value"] <= cell["ci_high"]
    assert {entry["artefact"].split("/")[1] for cell in table["sources"] for entry in json.loads(cell)} == {
        "dola",
        *(f"{name}_answers" for name in SECTIONS),
    }


@pytest.mark.parametrize(
    "protocol",
    [{}, {"selection": "halves"}, {"ties": "shared", "dola_mask": "removed", "score_dtype": "float64"}],
    ids=["as_published", "halves", "other_switches"],
)
def test_the_row_of_dola_has_the_numbers_of_its_own_tables(made, tmp_path, protocol):
    for rule in ("table_methods_questions", "tables_dola", "dola_changes"):
        written(made, rule, tmp_path, **protocol)
    cells = pd.read_parquet(tmp_path / "table_methods_questions.parquet").set_index(["row", "column"])
    changes = pd.read_parquet(tmp_path / "dola_changes.parquet").set_index(["questions", "metric"])
    for number, name, metrics, scale in ((1, SETS[0], ("MC1", "MC2", "MC3"), 1), (2, SETS[1], ("accuracy",), 100)):
        own = pd.read_parquet(tmp_path / f"table{number}.parquet").set_index(["row", "column"])["value"]
        for metric in metrics:
            for what, theirs in (("unsteered", "base"), ("steered", "DoLa")):
                value = cells.loc[(f"DoLa, tiny ({name})", f"{metric} {what}"), "value"]
                assert scale * value == pytest.approx(own[f"tiny ({name})", f"{metric} {theirs}"], abs=1e-12)
            cell, change = cells.loc[(f"DoLa, tiny ({name})", f"{metric} change")], changes.loc[(name, metric)]
            assert cell["value"] == pytest.approx(change["change"], abs=1e-12)
            ends = (change["ci_low"], change["ci_high"])
            assert (cell["ci_low"], cell["ci_high"]) == pytest.approx(ends, abs=1e-12) and cell["n"] == LIMIT
            against = cells.loc[(f"DoLa, tiny ({name})", f"{metric} change against prompting"), "value"]
            sides = [
                cells.loc[(f"DoLa, tiny ({name})", f"{metric} {what}"), "value"] for what in ("steered", "prompting")
            ]
            assert against == pytest.approx(sides[0] - sides[1])
            prompting = cells.loc[(f"Prompting, tiny ({name})", f"{metric} steered"), "value"]
            assert sides[1] == prompting
    for _, cell in cells.reset_index().iterrows():
        assert recompute(made[4].results, cell) == pytest.approx(cell["value"], abs=1e-12)
    said = (tmp_path / "table_methods_questions.md").read_text()
    assert "DoLa, tiny (misconceptions): 6 questions; best bucket" in said and "those of Tables 1 and 2" in said
    header = next(line for line in said.splitlines() if line.startswith("| Method"))
    first = [column.strip() for column in header.split("|")[2:7]]
    assert first == [f"MC1 {what}" for what in COLUMNS]


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(("step", "label"), [("dola", "DoLa"), ("caa_answers", "CAA")])
def test_a_method_on_other_questions_is_not_compared_with_prompting(made, tmp_path, step, label):
    """A limit of its own: the numbers stand, and a note says why the comparison does not."""
    _, _, study, registry, layout = made
    path = layout.artefact(step, ".parquet", "tiny", SETS[0])
    few = read_parquet(path, STEPS[step].schema).query("question < 4")
    other = Layout("one", tmp_path)
    shutil.copytree(layout.results, other.results)
    table, noted = pq.read_table(path), other.artefact(step, ".parquet", "tiny", SETS[0])
    kept = table.filter(pc.less(table["question"], 4))
    assert len(kept) == len(few) > 0
    pq.write_table(kept, noted)
    view = PRODUCTS["table_methods_questions"].view(results_of(study, registry, other))
    write(view, tmp_path)
    cells = pd.read_parquet(tmp_path / "table_methods_questions.parquet")
    mine = cells[cells["row"] == f"{label}, tiny (misconceptions)"]
    assert set(mine["n"]) == {4} and not mine["column"].str.contains("prompting").any()
    said = (tmp_path / "table_methods_questions.md").read_text()
    assert f"{label}, tiny (misconceptions) is on 4 questions and prompting on 6" in said


def test_without_dola_the_table_has_steering_methods_alone(made, tmp_path):
    _, _, study, registry, layout = made
    study = study.model_copy(update={"methods": list(SECTIONS)})
    view = PRODUCTS["table_methods_questions"].view(results_of(study, registry, layout))
    write(view, tmp_path)
    assert not pd.read_parquet(tmp_path / "table_methods_questions.parquet")["row"].str.startswith("DoLa").any()
    assert "DoLa" not in (tmp_path / "table_methods_questions.md").read_text().split("\n\n", 1)[1]


def test_changes_are_steered_less_unsteered_and_less_prompting(table):
    value = table.set_index(["row", "column"])["value"]
    for row in ("CAA, tiny (misconceptions)", "ITI, tiny (misconceptions)"):
        for metric in ("MC1", "MC2", "MC3"):
            steered = value[row, f"{metric} steered"]
            assert value[row, f"{metric} change"] == pytest.approx(steered - value[row, f"{metric} unsteered"])
            against = value[row, f"{metric} change against prompting"]
            assert against == pytest.approx(steered - value[row, f"{metric} prompting"])
    assert {column.split()[0] for row, column in value.index if "behaviours" in row} == {"accuracy", "probability"}
    assert {column.split()[0] for row, column in value.index if "passages" in row} == {"accuracy"}
    # MC2 is a share that the edits move, so steering at strength 8 is seen in the table.
    assert value["CAA, tiny (misconceptions)", "MC2 change"] != 0


def test_a_changed_question_changes_the_key_of_the_scores(made, monkeypatch):
    _, _, study, registry, layout = made
    parts = [
        key_parts(STEPS[s], study, registry, layout, "tiny", "passages")["inputs"] for s in ("caa_answers", "dola")
    ]
    assert parts[0].keys() == {"caa_folds", "words of caa"} and parts[0]["words of caa"] == parts[1]["words of dola"]


@pytest.mark.parametrize("method", ["caa", "inference_time_intervention", "mean_difference", "first_component"])
def test_settings_that_only_word_tasks_read_change_no_key_on_question_sets(made, method):
    """`pairs` and `shots` decide what is drawn from a word list; a fold of questions is used whole."""
    _, _, study, registry, layout = made

    def key(step, **settings):
        section = getattr(study, method).model_copy(update={"questions": ["passages"], **settings})
        changed = study.model_copy(update={"methods": [method], "tasks": ["antonym"], method: section})
        unit = "passages" if STEPS[step].on_questions else "antonym"
        return key_parts(STEPS[step], changed, registry, layout, "tiny", unit)["parameters"]

    for step in (f"{method}_folds", f"{method}_answers"):
        assert key(step) == key(step, pairs=7, shots=3) != key(step, limit=3)
    assert key(method) != key(method, pairs=7)


def question(text: str, best: str, false: str = "No way", more: tuple[str, ...] = ()):
    return question_steering.Question(text, best, (best, *more), (false,))


def many(count: int):
    return [question(f"Why {number}?", f"Since {number}", f"Not {number}") for number in range(count)]


def test_questions_that_share_a_text_or_an_answer_are_in_one_fold():
    some = many(30)
    some[3] = question("why  4?", "Three", "Not three")
    some[10] = question("Why ten?", "since 20.", "Not ten")
    some[21] = question("Why 21?", "Since 21", "Since 22")
    for name in "abcdefgh":
        fold = folds(name, some)
        assert fold[3] == fold[4] and fold[10] == fold[20] and fold[21] == fold[22]
        assert abs(2 * fold.sum() - 30) <= 2
    assert len({tuple(folds(name, some)) for name in "abcdefgh"}) > 4


def test_a_stock_answer_ties_nothing_together_and_builds_nothing():
    some = [question(f"Why {n}?", f"Since {n}", f"Not {n}", ("I have no comment",)) for n in range(30)]
    assert stock_answers(some) == {"i have no comment"}
    assert sorted(np.bincount(folds("s", some))) == [15, 15]
    row = dataclasses.replace(KNOWN.question_set("misconceptions"))
    built = contrasts_of(row, "s", some[:2], (), stock_answers(some))
    assert [text for text in built.texts if "comment" in text.rsplit("A:", 1)[1]] == []
    assert built.groups == [0, 1]


def test_folds_of_lettered_pairs_have_as_many_of_each_letter():
    questions, _ = evaluated(KNOWN.question_set("behaviours"))
    fold = folds("behaviours", questions)
    letters = pd.crosstab(fold, [each.best for each in questions])
    assert len(questions) == 100 and (letters == 25).all(axis=None)
    texts = [each.text for each in questions]
    assert len({text.split("\n")[0] for text in texts}) == 100
    assert all(text.startswith("Question: ") and text.endswith("\nAnswer:") for text in texts)


def test_vectors_of_tasks_are_what_they_were(made, monkeypatch):
    """Bit for bit: `build` reads the texts in the order in which it read them before it was built on contrasts."""
    read, texts = [], []

    def residuals(prompts):
        read.append(prompts)
        return torch.arange(len(prompts) * 6, dtype=torch.float32).view(len(prompts), 2, 3).square()

    engine = type("Engine", (), {"capture_residuals": staticmethod(residuals)})()
    tokenizer = type("Tokenizer", (), {"encode": staticmethod(lambda text: texts.append(text) or text)})()
    study = load_study(STUDY | {"tasks": ["antonym"], "methods": ["caa"]})
    for name in ("caa", "mean_difference", "in_context_vectors"):
        step = dataclasses.replace(STEPS[name])
        context = StepContext(step, study, made[3], made[4], "tiny")
        context.__dict__ |= {"engine": engine, "tokenizer": tokenizer}
        built = torch.as_tensor(steering(name).build(context, made[3].task("antonym")))
        states = residuals(read[-1])
        if name == "in_context_vectors":
            assert all(" " not in text for text in read[-2][:2])
            continue
        assert torch.equal(built, (states[0::2] - states[1::2]).mean(0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"methods": ["activation_addition"], "activation_addition": {"questions": ["passages"]}},
            "activation_addition cannot be built from the answers of a question set .* caa, first_component",
        ),
        (
            {"caa": {"questions": ["misconceptions-mc"]}},
            "misconceptions-mc has only letters as answers; use truthfulqa",
        ),
        ({"caa": {"questions": ["misconception"]}}, "misconception"),
        ({"caa": {"questions": ["passages"], "limit": 3}}, "passages: its 3 questions cannot be divided"),
        ({"dola": {"questions": ["behaviours"]}}, "dola.questions: behaviours does not have the form that is needed"),
    ],
)
def test_a_study_that_asks_what_cannot_be_is_refused(changes, said):
    with pytest.raises(OffcourseError, match=said):
        check_study(load_study(STUDY | {"models": ["tiny-llama"]} | changes), KNOWN)


def test_questions_that_all_share_an_answer_cannot_be_divided():
    some = [question(f"Why {n}?", "Since A", f"Not {n}") for n in (7, 8)] + many(1)
    with pytest.raises(OffcourseError, match=r"set s: its 3 questions cannot be divided .* \(of 2 groups"):
        folds("s", some)


def test_more_demonstrations_than_a_fold_has_and_nan_are_refused(made, monkeypatch):
    _, _, _, registry, layout = made
    study = load_study(STUDY | {"prompting": {"questions": ["passages"], "limit": LIMIT, "strengths": [0, 4]}})
    context = StepContext(STEPS["prompting_answers"], study, registry, layout, "tiny", threads=1)
    with pytest.raises(OffcourseError, match=r"prompting.strengths: 4 demonstrations are more than the 3 questions"):
        question_steering.prompted(context, registry.question_set("passages"))
    context = StepContext(STEPS["caa_folds"], made[2], registry, layout, "tiny", threads=1)
    broken = lambda self, context, contrasts: torch.full((4, 32), torch.nan)  # noqa: E731
    monkeypatch.setattr(type(steering("caa")), "from_contrasts", broken)
    with pytest.raises(OffcourseError, match=r"caa on passages: from_contrasts must return finite .* not finite"):
        question_steering.vectors(context, registry.question_set("passages"))


def test_a_study_without_tasks_has_neither_sweeps_nor_their_table(made):
    study = made[2]
    steps, products = steps_of(study), products_of(study, made[3])
    assert not [name for name in steps if name.endswith("_sweep") or name in ("prompts", "icl")]
    assert "table_methods_questions" in products and "table_methods" not in products
    assert {table["id"] for table in tables_of(study, made[3])} > {"table1", "table_methods_questions"}
    assert not {page["figure"] for page in pages(study, made[3])} & {"figure_caa", "figure_gain_harm"}
    with pytest.raises(OffcourseError, match="the key tasks is missing, on which caa would run"):
        load_study({"study": "one", "models": ["tiny"], "methods": ["caa"]})
    assert "caa_answers" not in steps_of(load_study(STUDY | {"methods": ["dola"]}))


def test_the_plan_counts_edits_and_questions(made):
    model, row = made[3].model("tiny"), made[3].question_set("misconceptions")

    def counted(step: str, **changes) -> float:
        section = STUDY["caa"] | changes
        return work(step, load_study(STUDY | {"caa": section}), model, row, 4096).token_blocks

    assert counted("caa_folds") < counted("caa_folds", limit=2 * LIMIT)
    few, more = counted("caa_answers", strengths=[1]), counted("caa_answers", strengths=[1, 2, 3])
    assert few < more < 3 * few
    for step in (step for method in SECTIONS for step in (f"{method}_folds", f"{method}_answers") if step in STEPS):
        assert work(step, made[2], model, made[3].question_set("behaviours"), 4096).token_blocks > 0
    # Edits at all tokens share no beginning. Before them three questions are compared with plain forwards.
    section = STUDY["mean_difference"] | {"limit": 60}
    many = load_study(STUDY | {"mean_difference": section})
    everywhere = work("mean_difference_answers", many, model, row, 4096).token_blocks
    assert everywhere > 2 * counted("caa_answers", strengths=[1], limit=60)
    # What does not grow with the questions: 3 passes of them under edits, and 1 + 2 * 3 * 3 plain forwards.
    fixed = 2 * counted("caa_answers", limit=30) - counted("caa_answers", limit=60)
    assert fixed > (3 + 1 + 2 * 3 * 3) * 10 * model.layers


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("Why?\tNo\tYes\tC", "row 2: the letter of the matching option must be A or B, got 'C'"),
        ("Why?\tNo\tNo\tA", "row 2: both options are 'No'"),
        ("Why?\t\tNo\tA", "row 2: the cell in column 'matching' is empty"),
    ],
)
def test_wrong_cells_of_lettered_pairs_are_named(tmp_path, cells, said):
    (tmp_path / "questions").mkdir()
    (tmp_path / "questions/mine.tsv").write_text(f"question\tmatching\tnot_matching\tletter\n{cells}\n")
    with pytest.raises(OffcourseError, match=said):
        evaluated(QuestionSet("mine", "Mine", "ab", "mine.tsv", "", ""), resources=tmp_path)
