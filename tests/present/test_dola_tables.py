"""Tables 1, 2, 4 to 10 and Figures 2 and 8 from made-up scores: the numbers are those of their definitions."""

import json
import re
import statistics

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from offcourse.artefacts import APATHY, CELLS, DOLA, LOGIT_LENS, read_parquet, write_parquet
from offcourse.keyed import keyed_generator
from offcourse.present import contents, dola_runs, figure_apathy, figure_lens, forms, report, tables_dola
from offcourse.study.config import load_study

# Layers and parameters. Gemma 2 27B has a few more than 27 billion, and counts as small.
MODELS = {"little-1b": (12, 1e9), "gemma-27b": (46, 27.2e9), "great-70b": (80, 70e9)}
BUCKETS = ("0-50", "50-100")
ALPHAS = (0.0, 0.1, 0.5)
SETTINGS = [("", 0.0, "base"), ("", 0.0, "length_bias")] + [
    (bucket, alpha, variant) for bucket in BUCKETS for alpha in ALPHAS for variant in ("softmax", "no_softmax")
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dola")
    random = np.random.default_rng(0)
    for model, (layers, parameters) in MODELS.items():
        (folder / model).mkdir()
        facts = {"name": model, "label": model.title(), "layers": layers, "parameters": parameters}
        (folder / model / "model.json").write_text(json.dumps(facts))
        for name, true in (("asked", 2), ("told", 1)):
            rows = []
            for question in range(30):
                kinds = ["best"] + ["true"] * (true - 1) + ["false"] * 3
                for answer, kind in enumerate(kinds):
                    for bucket, alpha, variant in SETTINGS:
                        score = random.integers(-9, 0) + 2 * (kind != "false")
                        masked = int(random.random() < alpha / 2)
                        rows.append((question, answer, kind, 3, bucket, alpha, variant, float(score), masked))
            frame = pd.DataFrame(rows, columns=list(DOLA.columns))
            frame.attrs["premature_layers"] = {"0-50": {"0": 30, "2": 10}, "50-100": {"6": 20, "8": 30}}
            write_parquet(folder / model / "dola" / f"{name}.parquet", frame, DOLA)
        index = pd.MultiIndex.from_product([range(20), range(layers + 1)], names=["question", "layer"])
        lens = pd.DataFrame(random.random((len(index), 4)).astype("float32"), index, ["a", "b", "c", "d"])
        lens = lens.set_axis(["top", "correct", "incorrect", "predicted"], axis=1).reset_index()
        write_parquet(folder / model / "logit_lens" / "letters.parquet", lens, LOGIT_LENS)
        apathy = lens[lens["layer"] < layers][["question", "layer", "top", "correct"]]
        apathy = apathy.set_axis(["question", "layer", "mha", "mlp"], axis=1)
        write_parquet(folder / model / "apathy" / "letters.parquet", apathy, APATHY)
    return folder


@pytest.fixture(scope="module")
def written(results):
    sets = [("asked", "primer"), ("told", "continuation")]
    tables_dola.write(results, list(MODELS), sets, False, False, results / "tables")
    return results


def hits(results, model: str, name: str, setting: tuple, shared: bool = False) -> list[float]:
    """Per question, whether the best answer is above every false one; ties by either rule, one by one."""
    frame = read_parquet(results / model / "dola" / f"{name}.parquet", DOLA)
    bucket, alpha, variant = setting
    frame = frame[(frame["bucket"] == bucket) & (frame["alpha"] == alpha) & (frame["variant"] == variant)]
    found = []
    for _, question in frame.groupby("question"):
        best = question.loc[question["kind"] == "best", "score"].item()
        false = question.loc[question["kind"] == "false", "score"].tolist()
        tie = 1 / (1 + false.count(best)) if shared else float(name == "told")
        found.append(tie if best == max(false) else float(best > max(false)))
    return found


def mc1(results, model: str, name: str, bucket: str, alpha: float, variant: str) -> float:
    return float(np.mean(hits(results, model, name, (bucket, alpha, variant))))


def paired_p(base: list[float], other: list[float]) -> float:
    """The exact test on who is better, question by question."""
    pairs = list(zip(base, other, strict=True))
    lost, gained = sum(b > o for b, o in pairs), sum(b < o for b, o in pairs)
    return float(mcnemar([[0, lost], [gained, 0]], exact=True).pvalue) if lost + gained else 1.0


def best_setting(scores: dict[tuple, list[float]], questions) -> tuple:
    """The study's search: every bucket at alpha 0.1, then every alpha at the best of them (the last of equals)."""

    def mean(setting):
        return np.mean([scores[setting][question] for question in questions])

    bucket, *_ = max([(bucket, 0.1, "softmax") for bucket in BUCKETS[::-1]], key=mean)
    return max([(bucket, alpha, "softmax") for alpha in ALPHAS], key=mean)


def cells_of(folder, number: int) -> pd.DataFrame:
    return read_parquet(folder / f"table{number}.parquet", CELLS).set_index(["row", "column"])


def printed(folder, number: int) -> pd.DataFrame:
    return pd.read_csv(folder / f"table{number}.csv", index_col="Model", dtype=str)


SETS = [("asked", "primer"), ("told", "continuation")]


@pytest.fixture(scope="module", params=[False, True], ids=["as_coded", "shared"])
def either(request, results, tmp_path_factory):
    """The tables under one of the tie rules, and whether it is the shared one."""
    out = tmp_path_factory.mktemp("tables")
    tables_dola.write(results, list(MODELS), SETS, False, request.param, out)
    return out, request.param


def test_a_table_without_a_model_says_why_it_is_empty(results, tmp_path):
    tables_dola.write(results, ["little-1b"], [("asked", "primer")], False, False, tmp_path)
    for number, why in (
        (5, "no model above 27B parameters with a set of questions"),
        (2, "no model with a set of texts to be continued"),
    ):
        assert read_parquet(tmp_path / f"table{number}.parquet", CELLS).empty
        assert f"- Empty: this study has {why}." in (tmp_path / f"table{number}.md").read_text()
    assert not read_parquet(tmp_path / "table4.parquet", CELLS).empty


@pytest.mark.parametrize("number", tables_dola.CAPTIONS)
def test_every_table_is_written_in_every_form(written, number):
    for suffix in forms.SUFFIXES:
        assert (written / "tables" / f"table{number}.{suffix}").stat().st_size > 0
    cells = read_parquet(written / "tables" / f"table{number}.parquet", CELLS)
    models = {4: ["little-1b", "gemma-27b"], 8: ["little-1b", "gemma-27b"], 5: ["great-70b"], 9: ["great-70b"]}
    models = models.get(number, list(MODELS))
    assert {row.split(" ")[0] for row in cells["row"]} == set(models)
    assert set(cells["n"]) == {30}


@pytest.mark.parametrize(("number", "name", "metric"), [(6, "asked", "MC1"), (10, "told", "accuracy")])
def test_alphas_are_shown_at_the_best_bucket(written, number, name, metric):
    cells = read_parquet(written / "tables" / f"table{number}.parquet", CELLS).set_index(["row", "column"])["value"]
    for model in MODELS:
        best = max(BUCKETS[::-1], key=lambda bucket: mc1(written, model, name, bucket, 0.1, "softmax"))
        for alpha in ALPHAS:
            expected = mc1(written, model, name, best, alpha, "softmax")
            assert cells[f"{model} ({name})", f"{metric} alpha {alpha:g}"] == pytest.approx(expected)


def test_the_best_setting_is_the_best_of_buckets_and_alphas(written):
    cells = read_parquet(written / "tables" / "table1.parquet", CELLS).set_index(["row", "column"])
    for model in MODELS:
        tried = [mc1(written, model, "asked", bucket, 0.1, "softmax") for bucket in BUCKETS]
        best = BUCKETS[int(np.argmax(tried))]
        tried += [mc1(written, model, "asked", best, alpha, "softmax") for alpha in ALPHAS]
        cell = cells.loc[(f"{model} (asked)", "MC1 DoLa")]
        assert cell["value"] == pytest.approx(max(tried))
        assert 0 <= cell["ci_low"] < cell["value"] < cell["ci_high"] <= 1
        base = mc1(written, model, "asked", "", 0.0, "base")
        assert cells.loc[(f"{model} (asked)", "MC1 base"), "value"] == pytest.approx(base)


@pytest.mark.parametrize(("number", "name"), [(1, "asked"), (2, "told")])
def test_choice_value_and_test_follow_the_tie_rule(results, either, number, name):
    out, shared = either
    cells, scale = cells_of(out, number), 100 if number == 2 else 1
    metric, p_values = "MC1" if number == 1 else "accuracy", {}
    for model in MODELS:
        scores = {setting: hits(results, model, name, setting, shared) for setting in SETTINGS}
        best = best_setting(scores, range(30))
        row = f"{model} ({name})"
        base, dola = scores["", 0.0, "base"], scores[best]
        assert cells.loc[(row, f"{metric} DoLa"), "value"] == pytest.approx(scale * np.mean(dola))
        assert cells.loc[(row, f"{metric} base"), "value"] == pytest.approx(scale * np.mean(base))
        p_values[row] = paired_p(base, dola)
        assert cells.loc[(row, "McNemar p"), "value"] == pytest.approx(p_values[row])
        # The other rule's number of the same setting stands beside it.
        other = np.mean(hits(results, model, name, best, not shared))
        rule = "as coded" if shared else "shared"
        assert cells.loc[(row, f"{metric} DoLa, ties {rule}"), "value"] == pytest.approx(scale * other)
        assert f"best setting {best[0]} % with alpha {best[1]:g}." in (out / f"table{number}.md").read_text()
    # Holm: the smallest of k is multiplied by k, the next by k - 1, and none falls below the one before.
    corrected, largest = {}, 0.0
    for place, row in enumerate(sorted(p_values, key=p_values.get)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[row]))
        corrected[row] = largest
    shown = pd.read_csv(out / f"table{number}.csv", index_col=0)["McNemar p (Holm)"]
    assert {row: shown[row] for row in corrected} == pytest.approx(corrected, abs=1e-4)


def test_every_number_over_questions_has_an_interval(results, either):
    out, _ = either
    for number in (1, 2, 4, 7):
        cells = read_parquet(out / f"table{number}.parquet", CELLS)
        mine = cells[cells["unit"].str.contains("questions")]
        assert (mine["ci_low"] <= mine["value"]).all() and (mine["value"] <= mine["ci_high"]).all(), number
    cells = cells_of(out, 1)
    for model in MODELS:
        frame = pd.read_parquet(results / model / "dola" / "asked.parquet")
        values = [mc2_of(mine) for _, mine in frame[frame["variant"] == "base"].groupby("question")]
        random = np.random.default_rng(0)
        means = [random.choice(values, len(values)).mean() for _ in range(4000)]
        found = cells.loc[(f"{model} (asked)", "MC2 base"), ["ci_low", "ci_high"]].astype(float)
        assert list(found) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.01)


def mc2_of(answers: pd.DataFrame) -> float:
    weights = np.exp(answers["score"] - answers["score"].max())
    return weights[answers["kind"] != "false"].sum() / weights.sum()


def test_buckets_stand_in_the_papers_order_and_of_equal_ones_the_last_is_best():
    """In the paper's Table 4, Llama 3 8B has 0.2913 for 0-50 % and for 0-100 %; its Table 6 uses 0-100 %."""
    metrics = pd.DataFrame(
        [
            {"bucket": bucket, "alpha": 0.1, "variant": "softmax", "question": question, "mc1": float(question < hits)}
            for bucket, hits in (("0-100", 5), ("50-100", 4), ("25-75", 4), ("0-50", 5))
            for question in range(10)
        ]
    )
    run = dola_runs.Run("m", "q", metrics, False, pd.DataFrame(), "mc1", "same_items")
    assert run.buckets == ["0-50", "25-75", "50-100", "0-100"]
    assert run.best_bucket(np.ones(10, bool)) == "0-100"


def test_the_tie_rule_changes_a_choice(results):
    """Or the test above would hold for a choice that ignores the rule."""
    choices = [
        best_setting({setting: hits(results, model, name, setting, shared) for setting in SETTINGS}, range(30))
        for shared in (False, True)
        for model in MODELS
        for name in ("asked", "told")
    ]
    assert choices[:6] != choices[6:]


@pytest.mark.parametrize("number", tables_dola.CAPTIONS)
def test_both_tie_rules_ties_and_masked_answers_are_in_the_artefact(results, either, number):
    out, shared = either
    cells, form = cells_of(out, number), printed(out, number)
    name = "told" if number in (2, 8, 9, 10) else "asked"
    scale = 100 if number == 2 else 1
    metrics = [column for column in form if column.startswith(("MC1 ", "MC3 ", "accuracy "))]
    assert metrics
    for row in form.index:
        for column in metrics:
            assert (row, f"{column}, ties {'as coded' if shared else 'shared'}") in cells.index
            setting = column.split(" ", 1)[1]
            assert 0 <= cells.loc[(row, f"ties {setting}"), "value"] <= scale
            assert ((row, f"masked best answers {setting}") in cells.index) == (not setting.startswith("base"))
    # One of them by hand.
    if number in (1, 2):
        frame = read_parquet(results / "little-1b" / "dola" / f"{name}.parquet", DOLA)
        base = frame[frame["variant"] == "base"]
        tied = [
            question.loc[question["kind"] == "best", "score"].item()
            == question.loc[question["kind"] == "false", "score"].max()
            for _, question in base.groupby("question")
        ]
        assert cells.loc[(f"little-1b ({name})", "ties base"), "value"] == pytest.approx(scale * np.mean(tied))
    assert not [column for column in form if ", ties" in column]
    assert any(column.startswith("ties") for column in form) == (number in (1, 2))


@pytest.mark.parametrize(
    ("number", "digits"), [(1, r"0\.\d\d"), (2, r"\d+"), *((n, r"0\.\d{4}") for n in (4, 5, 6, 7, 8, 9, 10))]
)
def test_numbers_have_the_papers_digits(written, number, digits):
    """Two for Table 1, whole percent for Table 2 (the paper's only table in percent), four elsewhere."""
    form = printed(written / "tables", number)
    cells = cells_of(written / "tables", number)
    for column in form:
        if column.startswith(("MC", "accuracy")):
            assert all(re.fullmatch(digits, text) for text in form[column]), column
            assert set(cells.xs(column, level="column")["unit"]) == {f"{'%' if number == 2 else 'share'} of questions"}


def test_the_best_alpha_and_bucket_have_columns(written):
    form, cells = printed(written / "tables", 7), cells_of(written / "tables", 7)
    for model in MODELS:
        row = f"{model} (asked)"
        scores = {setting: hits(written, model, "asked", setting) for setting in SETTINGS}
        bucket, alpha, _ = best_setting(scores, range(30))
        assert (form.loc[row, "best alpha"], form.loc[row, "best bucket"]) == (f"{alpha:g}", f"{bucket}%")
        assert cells.loc[(row, "best alpha"), ["value", "unit"]].tolist() == [alpha, "alpha"]
        ends = [cells.loc[(row, f"best bucket {end}"), "value"] for end in ("from", "to")]
        assert "-".join(f"{end:.0f}" for end in ends) == bucket
    for number in (6, 10):
        assert set(printed(written / "tables", number)["best bucket"]) <= {"0-50%", "50-100%"}


def test_the_premature_layers_are_told_in_the_notes(written):
    said = "premature layer chosen most often: 0-50 % layer 0 (75% of tokens); 50-100 % layer 8 (60% of tokens)."
    for number, row in ((4, "gemma-27b (asked)"), (5, "great-70b (asked)"), (8, "little-1b (told)")):
        assert f"- {row}, {said}" in (written / "tables" / f"table{number}.md").read_text()


@pytest.fixture(scope="module")
def halved(results, tmp_path_factory):
    out = tmp_path_factory.mktemp("halves")
    tables_dola.write(results, list(MODELS), SETS, False, False, out, selected="halves")
    return out


def held_out(scores, unit: str, choose) -> list[list[float]]:
    """Per halving, every question's hit in the setting that `choose` takes on the half that it is not in."""
    rows = []
    for halving in range(20):
        place = keyed_generator(0, unit, "halving", halving).permutation(30)
        row = [0.0] * 30
        for first in (True, False):
            here = [question for question in range(30) if (place[question] < 15) == first]
            setting = choose(scores, here)
            for question in set(range(30)) - set(here):
                row[question] = scores[setting][question]
        rows.append(row)
    return rows


@pytest.mark.parametrize(("number", "name"), [(1, "asked"), (2, "told"), (7, "asked")])
def test_with_halves_a_setting_is_reported_on_questions_that_it_was_not_chosen_on(results, halved, number, name):
    cells, scale = cells_of(halved, number), 100 if number == 2 else 1
    metric = "accuracy" if number == 2 else "MC1"
    for model in MODELS:
        scores = {setting: hits(results, model, name, setting) for setting in SETTINGS}
        rows = held_out(scores, name, best_setting)
        row = f"{model} ({name})"
        assert cells.loc[(row, f"{metric} DoLa"), "value"] == pytest.approx(scale * np.mean(rows))
        base = scores["", 0.0, "base"]
        assert cells.loc[(row, f"{metric} base"), "value"] == pytest.approx(scale * np.mean(base))
        if number == 7:
            bare = held_out(scores, name, lambda scores, here: (best_setting(scores, here)[0], 0.0, "no_softmax"))
            assert cells.loc[(row, "MC1 DoLa w/o softmax"), "value"] == pytest.approx(np.mean(bare))
            continue
        p = min(1.0, 2 * statistics.median(paired_p(base, dola) for dola in rows))
        assert cells.loc[(row, "McNemar p"), "value"] == pytest.approx(p)
    text = (halved / f"table{number}.md").read_text()
    assert "chosen on one half of the items and reported on the other, averaged over 20 halvings in both" in text
    assert re.search(r"best setting [\d-]+ % with alpha [\d.]+ \(\d+% of the choices\)", text)


def test_without_a_true_difference_the_published_choice_is_optimistic(written, halved):
    """All settings of the made-up scores are equally good, so what the best one has on top is chance."""
    gains = {
        folder: [
            cells_of(folder, 1).loc[(f"{model} (asked)", "MC1 DoLa"), "value"]
            - np.mean([mc1(written, model, "asked", bucket, 0.1, "softmax") for bucket in BUCKETS])
            for model in MODELS
        ]
        for folder in (written / "tables", halved)
    }
    published, halves = gains.values()
    assert all(p > h for p, h in zip(published, halves, strict=True))


def test_score_dtype_says_how_mc2_is_computed(results, tmp_path):
    """`exact`: a score that overflows is a certain answer and not an undefined share."""
    frame = read_parquet(results / "little-1b" / "dola" / "asked.parquet", DOLA)
    attrs = frame.attrs
    frame.loc[frame["kind"] == "best", "score"] = 800.0
    frame.attrs = attrs
    write_parquet(tmp_path / "m" / "dola" / "asked.parquet", frame, DOLA)
    (tmp_path / "m" / "model.json").write_text((results / "little-1b" / "model.json").read_text())
    for exact, expected in ((False, 0.0), (True, 1.0)):
        tables_dola.write(tmp_path, ["m"], SETS[:1], False, False, tmp_path / "tables", exact=exact)
        assert cells_of(tmp_path / "tables", 1).loc[("m (asked)", "MC2 base"), "value"] == expected


def test_figures_draw_the_means(results):
    figure_lens.draw(results, list(MODELS), "letters", results / "figures" / "figure2" / "letters")
    figure_apathy.draw(results, list(MODELS), "letters", results / "figures" / "figure8" / "letters")
    lens = read_parquet(results / "little-1b" / "logit_lens" / "letters.parquet", LOGIT_LENS)
    drawn = pd.read_parquet(results / "figures" / "figure2" / "letters.parquet").set_index(["model", "line", "layer"])
    assert drawn.loc[("little-1b", "correct", 3), "mean"] == pytest.approx(lens[lens["layer"] == 3]["correct"].mean())
    scaled = pd.read_parquet(results / "figures" / "figure8" / "letters.parquet")
    for _, mine in scaled.groupby("model"):
        both = mine[mine["line"] != "top"]["scaled"]
        assert (both.min(), both.max()) == (0, 1)


def test_the_top_probability_is_scaled_over_all_questions_and_layers(results, tmp_path):
    """The last layer, the model's output, is one of them; its probabilities are the largest of a real model."""
    for folder, name in (("logit_lens", LOGIT_LENS), ("apathy", APATHY)):
        frame = read_parquet(results / "little-1b" / folder / "letters.parquet", name)
        if folder == "logit_lens":
            frame["top"] = frame["top"] / 2 + 0.5 * (frame["layer"] == 12).astype("float32")
            lens = frame
        write_parquet(tmp_path / "m" / folder / "letters.parquet", frame, name)
    drawn = figure_apathy.numbers(tmp_path, ["m"], "letters").set_index(["line", "layer"])["scaled"]
    least, most = lens["top"].min(), lens["top"].max()
    assert most > 0.9 and drawn["top"].index.tolist() == list(range(13))
    for layer in range(13):
        scaled = [(top - least) / (most - least) for top in lens.loc[lens["layer"] == layer, "top"]]
        assert drawn["top", layer] == pytest.approx(np.mean(scaled), abs=1e-5)


def test_contents_follow_the_methods():
    tables = [table["id"] for table in contents.tables(["dola", "function_vectors"])]
    assert tables == [f"table{number}" for number in range(1, 13)]
    pictures = contents.figures(["a"], ["antonym"], ["logit_lens"], ["letters"])
    assert [picture["id"] for picture in pictures] == ["figure1", "figure2/letters", "figure8/letters"]


def test_the_report_shows_every_table_with_intervals_in_its_unit(written, tmp_path):
    study = {"study": "made", "models": list(MODELS), "tasks": ["antonym"], "methods": ["dola"]}
    study = load_study(study).model_dump(mode="json")
    shown = [table for table in contents.tables(["dola"]) if (written / table["parquet"]).exists()]
    assert [table["id"] for table in shown] == [f"table{number}" for number in (1, 2, *range(4, 11))]
    report.write(written, study, [], shown, [], tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    for number, interval in ((1, r"0\.\d{3}–0\.\d{3}"), (2, r"\d+–\d+%"), (10, r"0\.\d{3}–0\.\d{3}")):
        section = html.split(f'<section id="table{number}">')[1].split("</section>")[0]
        cells = cells_of(written / "tables", number)
        shown = pd.read_csv(written / "tables" / f"table{number}.csv").columns
        known = cells["ci_low"].notna() & cells.index.get_level_values("column").isin(shown)
        assert len(re.findall(f"<small>{interval}</small>", section)) == known.sum() > 0
