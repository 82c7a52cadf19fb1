"""Released scores give the printed tables; damaged or ambiguous files are refused."""

import json

import pytest

from offcourse.analysis.truthfulness import per_question
from offcourse.archive import dola
from offcourse.data.names import RESOURCES
from offcourse.data.questions import load_questions
from offcourse.data.tsv import read_tsv
from offcourse.errors import OffcourseError
from offcourse.published.convert import _dola

# Cells where the paper prints another number than the released scores give.
MISPRINTS = {
    ("llama-3-70b (truthfulqa)", "MC1 50-75%"): (0.2712, 0.2717),
    ("qwen2-72b (truthfulqa)", "MC1 50-75%"): (0.38807, 0.3807),
    ("llama-2-70b (truthfulqa)", "MC2 alpha 0"): (0.5255, 0.5355),
    ("llama-2-70b (truthfulqa)", "MC2 alpha 0.75"): (0.5420, 0.5421),
    ("llama-2-70b (truthfulqa)", "MC3 alpha 0.75"): (0.2436, 0.2425),
    ("llama-3-8b (factor-news)", "accuracy base"): (0.7556, 0.7546),
}


@pytest.fixture(scope="module")
def made(release):
    return {
        (release.folder(name), each.step, each.unit): each
        for name in release.names("dola")
        for each in _dola(release, name)
    }


def metrics(frame) -> dict[tuple, dict[str, float]]:
    """{setting: mean of each metric over the questions}, by the code that makes a study's tables."""
    columns = {"MC1": "mc1", "MC2": "mc2", "MC3": "mc3", "accuracy": "factor"}
    means = per_question(frame).groupby(["bucket", "alpha", "variant"])[list(columns.values())].mean()
    return {setting: dict(zip(columns, row, strict=True)) for setting, row in zip(means.index, means.to_numpy())}  # noqa: B905


def test_the_printed_tables_follow_from_the_scores(made):
    found = {}
    for (model, step, questions), each in made.items():
        if step != "dola":
            continue
        searched = set(each.frame.loc[(each.frame["variant"] == "softmax") & (each.frame["alpha"] != 0.1), "bucket"])
        for (bucket, alpha, variant), values in metrics(each.frame).items():
            if variant not in ("base", "softmax"):
                continue
            names = ["base"] if variant == "base" else []
            names += [f"{bucket}%"] if variant == "softmax" and alpha == 0.1 else []
            names += [f"alpha {alpha:g}"] if bucket in searched else []
            for metric, value in values.items():
                found |= {(f"{model} ({questions})", f"{metric} {name}"): value for name in names}
    cells, differ = 0, {}
    for number in (4, 5, 6, 8, 9, 10):
        for row in read_tsv(RESOURCES / "paper" / f"table{number}.tsv").itertuples():
            if not row.column.split()[0].startswith(("MC", "accuracy")):
                continue
            cells += 1
            value = found[row.row, row.column]
            if abs(value - float(row.printed)) > 6e-5:
                differ[row.row, row.column] = (float(row.printed), round(float(value), 4))
    assert cells == 410
    assert differ == MISPRINTS


def test_files_of_another_depth_are_left_out_and_said(made):
    unused = [path for each in made.values() if each.step == "dola" for path in each.notes["unused"]]
    assert len(unused) == 11 and all("/factor_bucket_search/" in path for path in unused)


def test_half_of_factor_has_fewer_texts_and_says_so(made):
    texts = {model: each.notes["texts"] for (model, _, unit), each in made.items() if unit == "factor-news"}
    assert sorted(set(texts.values())) == [982, 1036] and sum(count == 982 for count in texts.values()) == 6


def test_chosen_layers_are_those_of_the_bucket(made):
    layers = made["qwen2-7b", "premature_layers", "truthfulqa"].frame
    chosen = layers[(layers["bucket"] == "25-75") & (layers["alpha"] == 0.9)]
    assert list(chosen["layer"]) == [8, 10, 12, 14, 16, 18, 20, 22]
    totals = layers.groupby(["bucket", "alpha", "variant"])["tokens"].sum()
    assert totals.nunique() == 1


def edited(release, path, change):
    def read(spec):
        content = release.read(spec)
        return json.dumps(change(json.loads(content))).encode() if spec == path else content

    return read


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("tfqa", lambda c: c | {"model_scores": c["model_scores"][1:]}, "has scores of 816 questions, expected 817"),
        ("tfqa", lambda c: {key: c[key] for key in c if key != "model_scores"}, "not a file of scores"),
        ("tfqa", lambda c: c | {"total_mc1": c["total_mc1"] + 0.01}, "the totals of MC1, MC2, MC3 do not follow"),
        ("factor", lambda c: c | {"is_correct": [not v for v in c["is_correct"]]}, "is_correct does not follow"),
        ("factor", lambda c: c | {"model_completion": [[1.0]] * len(c["is_correct"])}, "does not have a score of each"),
    ],
)
def test_a_file_of_another_shape_is_refused(release, kind, change, message):
    run = next(run for run in release.runs if run.questions == kind and run.variant == "base")
    asked = release.question_set(kind)
    questions = load_questions(asked, None, release.resources, release.layout.downloads)
    model = release.known(run.model)
    with pytest.raises(OffcourseError, match=message) as caught:
        dola.read_dola(edited(release, run.path, change), [run], model, questions, release.manifest)
    assert run.path in str(caught.value)


def test_a_setting_that_cannot_be_told_is_refused(release):
    """A file named by alpha is there, but no file named by bucket has equal scores."""
    runs = [run for run in release.runs if "/tfqa_alpha_search/" in run.path and run.model == "Qwen/Qwen2-7B"]
    asked = release.question_set("tfqa")
    questions = load_questions(asked, None, release.resources, release.layout.downloads)
    with pytest.raises(OffcourseError, match="its setting cannot be told"):
        dola.read_dola(release.read, runs, release.known("Qwen/Qwen2-7B"), questions, release.manifest)


def test_a_bucket_that_the_study_does_not_have_is_refused():
    assert dola.bucket(range(8, 24, 2), 28, False) == "25-75"
    with pytest.raises(OffcourseError, match="layers 4 to 10 of 32 are not one of the buckets"):
        dola.bucket(range(4, 12, 2), 32, False)
