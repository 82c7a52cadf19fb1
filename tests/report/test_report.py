import csv
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial

import grimp
import pandas as pd
import pytest
from made_report import MODELS, STUDY, TASKS
from views import view_of

from offcourse.claims import verdicts as claims
from offcourse.claims.findings import FOLDER, read_findings
from offcourse.claims.sensitivity import NUMBERS, SENSITIVITY
from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.figures import sweep
from offcourse.graph import catalogue
from offcourse.graph.products import PRODUCTS
from offcourse.report import claims as report_claims
from offcourse.report import methods, off_by_one, pictures, short
from offcourse.report import page as report
from offcourse.schemas.io import write_parquet
from offcourse.schemas.results import CELLS, as_cells
from offcourse.study.labels import Labels
from offcourse.tables.recovery import RECOVERY

LABELS = {"tiny-0.1b": "Tiny 0.1b", "middle-27b": "Middle 27b"}
# The view that the report of the made-up study is handed.
VIEW = partial(view_of, "report", fv=(MODELS, TASKS))


def test_it_needs_no_network_and_its_links_lead_somewhere(page):
    out, html = page
    assert "http:" not in html
    assert "https:" not in html
    links = re.findall(r'(?:href|src)="([^"]+)"', html)
    assert len(links) > 20
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in html
        elif not link.startswith("data:image/"):
            assert (out.parent / link).is_file()


def test_every_picture_has_a_text(page):
    images = re.findall(r"<img [^>]*>", page[1])
    assert len(images) == 2 * 2 + 1
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in images)
    # With labels, and not with the registry's names.
    assert not [
        image for image in images if re.search(r'alt="[^"]*(\{|tiny-0\.1b|middle-27b|' + "|".join(TASKS) + ")", image)
    ]


def test_numbers_of_random_weights_are_said_to_mean_nothing():
    for random, models, said in ((1, 1, "The model here has"), (1, 3, "1 of the 3 models here have")):
        told = dict(short.answers([], [], None, [], models, True, [], random))
        assert f"{said} random weights" in told["What the data here say"]
    assert "random" not in dict(short.answers([], [], None, [], 3, True, []))["What the data here say"]


def test_the_best_and_the_worst_task_of_each_model_are_shown(page, study, share):
    for model, layers in (("tiny-0.1b", 6), ("middle-27b", 8)):
        peak = {}
        for task in TASKS:
            rows = report.read_parquet(study / f"figures/figure17/{model}_{task}.parquet", sweep.NUMBERS)
            assert len(rows) == 9 * layers
            peak[task] = rows["accuracy"].max() / share(study, f"{model}/icl/{task}.parquet", shots=5)
        best, worst = max(peak, key=peak.get), min(peak, key=peak.get)
        label = LABELS[model]
        assert f"{label}, best recovered task: {report.task_label(best)}" in page[1]
        assert f"{label}, worst recovered task: {report.task_label(worst)}" in page[1]
        (other,) = set(TASKS) - {best, worst}
        assert f"{label}: {report.task_label(other)}</a> {100 * peak[other]:.0f}%" in page[1]


def test_table_models_and_settings_are_there(page, study):
    html = page[1]
    for line in (study / "tables" / "table3.csv").read_text().splitlines()[1:]:
        assert all(f">{cell}<" in html for cell in line.split(","))
    assert "Tiny 0.1b" in html
    assert "2 of 2 passed" in html
    assert "made &lt;up&gt;" in html
    assert "<td>2, 16, 64</td>" in html


def test_files_are_those_of_the_studys_methods(page):
    assert "{model}/fv_sweep/{task}.parquet" in page[1] and "tv_sweep" not in page[1]
    found = dict(report.files({"methods": ["task_vectors", "dola", "caa"]}))
    assert {
        "{model}/tv_sweep/{task}.parquet",
        "{model}/dola/{questions}.parquet",
        "{model}/caa_sweep/{task}.parquet",
    } < set(found)
    assert "{model}/fv_sweep/{task}.parquet" not in found


def test_how_to_audit_is_said_with_the_studys_own_file(study, tmp_path):
    audits = {"table3": {"command": "offcourse audit table3", "code": "0123", "state": "intact"}}
    for name, flag in (("default", False), ("other", True)):
        out = study / "audited.html"
        report.write(VIEW(study), {**STUDY, "study": name}, [], catalogue.tables(), MODELS, out, audits)
        html = (study / "audited.html").read_text()
        # On the first screen, and above the claims.
        assert html.count("--configfile results/other/ro-crate/study.yaml") == 2 * flag
        resting = [claim for claim in claims.read_claims() if claim.shown == "table3"]
        assert html.count("<code>offcourse audit table3</code>") == 2 + len(resting), (
            "in short, once below the table, and at its claims"
        )


def test_settings_leave_out_the_site_and_methods_that_are_not_run():
    keys = dict(report.settings(STUDY))
    assert keys["function_vectors.n_heads"] == "2, 16, 64"
    assert not [key for key in keys if key.startswith(("resources", "dola", "logit_lens"))]


def test_a_missing_picture_is_named(study):
    figures = [{**catalogue.figures(MODELS, TASKS)[-1], "svg": "figures/none.svg"}]
    with pytest.raises(OffcourseError, match=r"report reads figures/none\.svg"):
        report.write(VIEW(study), STUDY, figures, [], MODELS, study / "other.html")
    assert not (study / "other.html").exists()


def test_contents_list_every_file_once():
    figures = catalogue.figures(MODELS, TASKS)
    paths = [figure["svg"] for figure in figures]
    assert len(paths) == len(set(paths)) == 1 + 3 + 6 + 2 + 4
    assert "figures/figure17/tiny-0.1b_present-past.svg" in paths
    assert "figures/figure9/middle-27b.svg" in paths
    assert paths[:4] == [f"figures/figure{number}.svg" for number in ("_off_by_one", 1, 3, 5)]
    assert paths[-4:] == [f"figures/figure{number}.svg" for number in (11, 13, 14, 15)]


def test_contents_import_nothing_heavy():
    code = (
        "import sys, offcourse.graph.catalogue; "
        "print([name for name in ('pandas', 'numpy', 'matplotlib', 'pandera') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_figure_module_imports_another():
    """Editing one figure redraws that one only."""
    graph = grimp.build_graph("offcourse", cache_dir=None)
    modules = {target.partition(":")[0] for target in (each.target for each in PRODUCTS.values())}
    modules = {module for module in modules if module.startswith("offcourse.figures.")}
    assert len(modules) == 14
    for module in modules:
        behind = {name for name in graph.find_upstream_modules(module) if name.startswith("offcourse.")}
        assert not behind & modules
        assert not {name for name in behind if name.split(".")[1] in ("tables", "report", "graph")}


# Claims that the made-up study, which has function vectors and Table 3, has numbers for.
VECTORS = ("fv-default", "fv-search", "fv-search-half", "fv-settings", "ten-shot")


def test_claims_come_first_each_with_a_verdict_and_its_reason(page):
    html = page[1]
    assert html.index('<section id="claims">') < html.index('<section id="steering">') < html.index('id="table3"')
    rows = re.findall(r'<tr id="claim-([a-z0-9-]+)">(.*?)</tr>', html, re.DOTALL)
    assert [name for name, _ in rows] == [claim.name for claim in claims.read_claims()]
    for name, row in rows:
        said = re.findall(r'class="verdict [a-z]+">([^<]*)<', row)
        assert set(said) <= {*claims.VERDICTS, claims.TRUE, claims.FALSE}
        # The study has two models, which say nothing about others.
        assert claims.NO_RELEASE in row
        assert said[-1] == (claims.TOO_FEW if name in VECTORS else claims.NO_DATA), name
        assert (re.search("there is no|Table 3 has no TV", row) is None) == (name in VECTORS)


def test_the_best_of_each_grid_stands_beside_held_out_and_luck(page):
    html = page[1]
    section = html.split('<section id="certainty">')[1].split("</section>")[0]
    with open(page[0].parent / "tables" / "certainty.csv", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert re.findall(r'<th scope="col"[^>]*>([^<]*)<', section) == head
    assert {"best", "held out", "by luck (95 %)"} < set(head)
    assert section.count("<tr>") == 1 + len(rows) and rows[0][5] in section


def test_the_verdict_follows_the_table(study, tmp_path):
    """The same claim about other numbers gets another verdict."""
    (tmp_path / "tables").mkdir()
    frame = report.read_parquet(study / "tables" / "table3.parquet", report.CELLS)
    verdicts = []
    for value, low, high in ((10.0, 5.0, 20.0), (40.0, 30.0, 60.0), (80.0, 70.0, 90.0)):
        # Artefacts behind a cell say how many models it is of; without them its interval decides alone.
        frame[["value", "ci_low", "ci_high", "sources"]] = value, low, high, "[]"
        write_parquet(tmp_path / "tables" / "table3.parquet", frame, CELLS)
        listed = [table for table in catalogue.tables() if table["id"] == "table3"]
        rows = report_claims.claim_rows(view_of("report", tmp_path), listed, [], None, {}, True)
        verdicts.append((rows[0]["verdict"], rows[0]["literal"], rows[0]["by"]))
    assert verdicts == [
        (claims.HOLDS, claims.TRUE, "for this study, at most 20: not clear"),
        (claims.NOT_CLEAR, claims.TRUE, "for this study, at most 20: does not hold"),
        (claims.FAILS, claims.TRUE, "for this study, at most 20: does not hold"),
    ], "literally it is about the paper's models"
    assert rows[0]["limits"] == [
        "a lower limit: met below 70\N{NO-BREAK SPACE}%, missed above 90\N{NO-BREAK SPACE}%, not clear between",
        "an upper limit: met above 90\N{NO-BREAK SPACE}%, missed below 70\N{NO-BREAK SPACE}%, not clear between",
    ]
    assert rows[0]["turns"][0] == "high 33: 80\N{NO-BREAK SPACE}% [70, 90], does not hold"


def test_a_report_of_the_release_alone(tmp_path):
    rows = [
        ("table3", "FV search", "1.00", "28%", 28.0, 28.4, None, "equal at the printed precision", ""),
        ("table3", "TV", "0.90", "35%", 35.0, 61.0, None, "different", "stale <denominator>"),
    ]
    comparison = pd.DataFrame(rows, columns=report_claims.COMPARED)
    table = [
        ("FV search", "0.90", 51.5, 324, 46.1, 56.9, "% of model-task pairs", "[]"),
        ("TV", "0.90", 61.0, 261, 55.0, 66.8, "% of model-task pairs", "[]"),
    ]
    write_parquet(tmp_path / "tables/table3.parquet", as_cells(table), CELLS)
    out = tmp_path / "report.html"
    audits = {"table3": {"command": "offcourse audit table3 --published", "code": "0123", "state": "intact"}}
    report.write(view_of("report", tmp_path), None, [], [], [], out, audits, comparison=comparison, released=tmp_path)
    html = out.read_text()
    rows = dict(re.findall(r'<tr id="claim-([a-z0-9-]+)">(.*?)</tr>', html, re.DOTALL))
    # The last two are on the paper's own models and on others.
    found = {name: re.findall(r'class="verdict [a-z]+">([^<]*)<', row)[-2:] for name, row in rows.items()}
    assert (found["fv-search"], found["tv"]) == ([claims.TRUE, claims.HOLDS], [claims.FALSE, claims.FAILS])
    # What the release does not give is judged as printed, and what is not printed either has no verdict.
    assert found["dola-factor"] == [claims.TRUE, claims.HOLDS]
    assert found["apathy"] == [claims.NO_DATA, claims.NO_DATA]
    assert "stale &lt;denominator&gt;" in html
    # The finding names the study that its test is from.
    finding, rest = html.split('<section id="off-by-one">')[1].split("</section>", 1)
    assert off_by_one.TITLE in finding and "Ours" not in html and "study" not in rest.lower()
    on_table3 = [claim for claim in claims.read_claims() if claim.shown == "table3"]
    assert "down to the released files" in html
    assert html.count("<code>offcourse audit table3 --published</code>") == 1 + len(on_table3) > 4
    literal = Counter(each for each, _ in found.values())
    said = ", ".join(f"{word} {literal[word]}" for word in (claims.TRUE, claims.FALSE, claims.NO_DATA))
    assert f"{len(found)} claims. Of the paper’s own models, by their numbers: {said}." in html
    assert "by the release (all models): holds 1, does not hold 1, no data 26." in html
    # Percentages are whole and have their unit.
    assert "<span>52\N{NO-BREAK SPACE}%</span>" in html and "[46, 57]" in html
    for link in re.findall(r'href="#([^"]+)"', html):
        assert f'id="{link}"' in html


def test_claims_rest_on_figures_of_the_release_as_well(tmp_path):
    """Its lens is in files of three figures; what it lacks is named."""
    write_parquet(tmp_path / "tables/table3.parquet", as_cells([]), CELLS)
    for figure, change in (("figure2", 0.1), ("figure7", 0.2)):
        path = tmp_path / "figures" / figure / "asked.parquet"
        path.parent.mkdir(parents=True)
        lines = [(figure, "asked", layer, line, value, layer) for line in ("correct", "incorrect", "top")
                 for layer, value in enumerate([0.0, 0.0, change, 0.9])]  # fmt: skip
        pd.DataFrame(lines, columns=["model", "questions", "layer", "line", "mean", "n"]).to_parquet(path)
    rows = {row["name"]: row for row in report_claims.claim_rows(tmp_path, [], [], tmp_path, {}, False)}
    assert rows["late-spiking"]["cells"]["release"]["text"] == "100\N{NO-BREAK SPACE}%"
    assert "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}2" in rows["late-spiking"]["cells"]["release"]["note"]
    assert rows["apathy"]["cells"]["release"]["note"] == claims.NO_FIGURE
    assert rows["localisation-heads"]["cells"]["release"]["note"] == "there is no tables/head_overlap here"


def test_the_release_is_judged_on_all_models_and_by_whether_they_were_read_one_token_early(tmp_path):
    """All models whose tokenizer adds no BOS are steered, and none of the others; the headline counts all three."""
    registry = Registry.load().models
    models = {
        name: row.family for name, row in registry.items() if "function_vectors" in row.methods and row.paper_name
    }
    last = [name for name, family in models.items() if family in ("GPT-J", "Pythia", "Qwen 2", "Qwen 2.5", "OLMo")]
    early = [name for name, family in models.items() if family.startswith(("Llama", "Gemma", "Mistral"))]
    fewest = min(len(last), len(early))
    kept = [*last[:fewest], *early[:fewest]]
    rows = [
        (model, task, "linguistic", "FV search", 0, 0.9 if model in last else 0.0, 0.1, 0.9, 0.9)
        for model in kept
        for task in "uvwxyz"
    ]
    frame = pd.DataFrame(rows, columns=list(RECOVERY.columns))
    write_parquet(tmp_path / "tables/recovery.parquet", frame, RECOVERY)
    write_parquet(tmp_path / "tables/table3.parquet", as_cells([]), CELLS)
    found = report_claims.claim_rows(view_of("report", tmp_path), [], [], tmp_path, {}, False)
    [row] = [row for row in found if row["name"] == "fv-search-half"]
    sides = {name: row["verdicts"][name] for name in report_claims.OF_RELEASE}
    assert sides == {"release": claims.HOLDS, "unaffected": claims.FAILS, "affected": claims.NOT_CLEAR}
    texts = [row["cells"][name]["text"] for name in report_claims.OF_RELEASE]
    assert texts == [f"{value}\N{NO-BREAK SPACE}%" for value in (50, 100, 0)]
    lines = report_claims.summary(found)
    for line, name in zip(lines[1:], report_claims.OF_RELEASE, strict=True):
        counted = Counter(row["verdicts"][name] for row in found)
        assert all(f"{word} {count}" in line for word, count in counted.items())


def test_a_flat_page_is_a_line_of_the_index(study, tmp_path):
    """The best recovered task of a model is shown, until its page says nothing."""
    folder = shutil.copytree(study, tmp_path / "study")
    pages = [figure for figure in catalogue.figures(MODELS, TASKS) if figure["figure"] == "figure17"]
    best = pictures.figures(folder, pages, tmp_path / "report.html")[0]["shown"][0]
    assert best["rank"] == "best" and not best["flat"]
    path = (folder / best["svg"]).with_suffix(".parquet")
    drawn = pd.read_parquet(path)
    drawn.assign(accuracy=drawn["zero_shot"]).to_parquet(path)
    [found] = pictures.figures(folder, pages, tmp_path / "report.html")
    assert best["id"] not in [page["id"] for page in found["shown"]]
    [line] = [page["flat"] for page in found["linked"] if page["id"] == best["id"]]
    assert line.startswith("flat: none of 9 settings leaves the 95% interval of 0-shot accuracy")


def test_pictures_beyond_the_budget_are_linked(page, study, tmp_path):
    pages = [figure for figure in catalogue.figures(MODELS, TASKS) if figure["figure"] in ("figure17", "figure11")]
    full = pictures.figures(study, pages, tmp_path / "report.html")
    sizes = {figure["id"]: [len(each["picture"]) for each in figure["shown"]] for figure in full}
    assert [len(sizes[name]) for name in ("figure17", "figure11")] == [4, 1]
    budget = sum(sizes["figure11"]) + sum(sizes["figure17"][:2])
    some = {one["id"]: one for one in pictures.figures(study, pages, tmp_path / "report.html", budget)}
    used = sum(len(each["picture"]) for figure in some.values() for each in figure["shown"])
    assert 0 < used <= budget
    for figure in full:
        mine = some[figure["id"]]
        assert len(mine["shown"]) + len(mine["linked"]) == len(figure["shown"]) + len(figure["linked"])
    assert len(some["figure17"]["shown"]) < 4
    out = study / "small.html"
    report.write(VIEW(study), STUDY, pages, catalogue.tables(), MODELS, out, budget=0)
    html = out.read_text()
    assert "<img " not in html
    assert all(f"figures/figure17/{model}_{task}.svg" in html for model in MODELS for task in TASKS)


def test_methods_have_the_runs_own_parameters_and_versions(page, study):
    assert "2, 16 or 64 heads" in page[1]
    assert "1 or 4" in page[1]
    made = [
        {"git": {"commit": "0123456789abcdef", "dirty": False}, "python": "3.11.7", "packages": {"torch": torch}}
        for torch in ("2.13.0", "2.14.0")
    ]
    assert dict(methods.versions(made)) == {
        "Offcourse commit": "0123456789ab",
        "Python": "3.11.7",
        "torch": "2.13.0, 2.14.0",
    }


def test_answers_that_mostly_begin_with_one_token_are_warned_of_and_chance_stands_beside_accuracy(page):
    [warning] = [part for part in page[1].split("<p") if part.startswith(' class="warning"')]
    # A third of the answers to country-capital begin with one token, in `made_study`.
    assert "More than 25 %" in warning
    assert "capital" in warning.lower()
    assert "antonym" not in warning.lower()
    assert "(33 %; 29 different first tokens of 42)" in warning
    assert '<th scope="col" class="number">Chance</th>' in page[1]


def test_the_finding_stands_first_and_is_made_of_the_tracked_numbers(page):
    html, found = page[1], read_findings(RESOURCES / FOLDER)
    assert html.index('<section id="off-by-one">') < html.index('<section id="claims">')
    section = html.split('<section id="off-by-one">')[1].split("</section>")[0]
    assert off_by_one.TITLE in section and section.count("<p><strong>") == len(off_by_one.paragraphs(found)) + 1
    assert "`" not in section
    # Without a run there is no table of runs, not even its head.
    assert ("(the study off-by-one)" in section) == (len(found.runs) > 0) == ("<thead>" in section)
    assert f"recover {found.mean(True):.2f} of few-shot accuracy" in section
    assert section.count("<tr>") == bool(len(found.runs)) + len(found.runs.groupby(["model", "task", "seed"]))


def test_every_number_of_a_model_that_is_read_one_token_early_says_so(page):
    """Of the two models one adds a BOS, and the protocol is the published one."""
    html = page[1]
    assert f"In this study heads are {off_by_one.NOTE} for 1 of 2 models: Middle 27b." in html
    for touched in ("table3", "figure17"):
        section = html.split(f'<section id="{touched}">')[1].split("</section>")[0]
        assert f"For 1 of 2 models heads are {off_by_one.NOTE}: Middle 27b." in section
    untouched = html.split('<section id="figure11">')[1].split("</section>")[0]
    assert off_by_one.NOTE not in untouched
    steering = html.split('<section id="steering">')[1].split("</section>")[0]
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th><td>function vector(<small>[^<]+</small>)?</td>', steering)
    assert len(rows) == 2 + 2 * 3
    assert all(bool(note) == (model == "Middle 27b") for model, note in rows)


@pytest.mark.parametrize(("position", "early"), [("last", 0), ("one_early", 2)])
def test_which_models_are_read_early_follows_the_protocol(study, tmp_path, position, early):
    asked = STUDY | {"protocol": {"head_read_position": position}}
    report.write(VIEW(study), asked, [], [], MODELS, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    said = f"for {early} of 2 models" if early else "the heads of every model are read at the last token"
    assert said in html


def test_a_study_without_function_vectors_has_no_such_section(study, tmp_path):
    report.write(VIEW(study), STUDY | {"methods": ["logit_lens"]}, [], [], MODELS, tmp_path / "report.html")
    assert off_by_one.TITLE not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_first_screen_answers_five_questions_and_leads_to_every_part(page):
    html = page[1]
    first = html.split('<section id="short">')[1].split("</section>")[0]
    assert html.index('<section id="short">') < html.index('<section id="off-by-one">')
    asked = re.findall(r"<dt>([^<]+)</dt>", first)
    assert asked == [
        *("What the paper claims", "What the data here say", "What reading one token early does", "How sure that is"),
        "How to check",
    ]
    assert re.search(r"function vector \d of 6", first)
    assert "too few to say" in first and "<code>offcourse audit" in first and "`" not in first
    assert "random weights" not in first and "Run them in the checkout where the study ran" in first
    led = re.findall(r'<a href="#([^"]+)">', first)
    parts = [part for part in re.findall(r'<section id="([^"]+)">', html) if part != "short"]
    assert sorted(led) == sorted(parts) and len(set(led)) == len(led)


def test_a_part_that_no_question_names_is_in_the_contents_all_the_same():
    found = short.contents(
        [("claims", ""), ("table3", "Table 3. Recovery"), ("table_own", "A table of one's own. It is")]
    )
    assert [(question, parts) for question, parts in found if parts[0][0] == "table_own"] == [
        (short.REST, [("table_own", "A table of one's own")])
    ]
    assert [part for _, parts in found for part in parts][:2] == [("claims", "Claims"), ("table3", "Table 3")]


def test_what_all_rows_of_a_switch_share_is_said_once(tmp_path):
    (tmp_path / "tables").mkdir()
    same = "fv-search: holds → not clear"
    rows = [
        ("selection", "same_items → halves", "table3", "FV search", "0.50", 50.0, 40.0, same, "a note"),
        ("selection", "same_items → halves", "table3", "FV search", "0.90", 30.0, 20.0, same, "a note"),
        ("selection", "same_items → halves", "table3", "TV", "0.90", 30.0, 20.0, "tv: holds (with BOS)", "a note"),
        ("sampling", "global → keyed", "", "", "", float("nan"), float("nan"), "", "needs a rerun"),
    ]
    frame = pd.DataFrame(rows, columns=[name for name in SENSITIVITY.columns if not name.endswith(("_low", "_high"))])
    frame = frame.reindex(columns=list(SENSITIVITY.columns)).astype(dict.fromkeys(NUMBERS, float))
    write_parquet(tmp_path / "tables/sensitivity.parquet", frame, SENSITIVITY)
    one, other = report._switches(view_of("report", tmp_path))
    assert (one["note"], one["claims"]) == ("a note", [same])
    assert [row["claims"] for row in one["rows"]] == ["", "", "tv: holds (with BOS)"]
    assert (other["note"], other["claims"], other["rows"]) == ("needs a rerun", [], [])


def test_a_claim_on_function_vectors_says_that_heads_were_read_early_and_no_other_does(page):
    early = dict(re.findall(r'<tr id="claim-([a-z0-9-]+)">(.*?)</tr>', page[1], re.DOTALL))
    noted = {name for name, row in early.items() if "Rests on heads that are" in row}
    assert {"fv-default", "fv-search", "fv-settings", "from-english", "layers", "post-training-fv"} <= noted
    assert not noted & {"tv", "tv-large", "tv-layer", "post-training-tv", "ten-shot", "apathy", "dola-factor"}
    assert "19 of the 36 released models, here for Middle 27b." in early["fv-search"]


def test_names_in_notes_have_labels_and_other_words_stay():
    labels = Labels({"tiny-1b": "Tiny 1B"}, ["antonym"], {"riddles": "Riddles"})
    told = report_claims.labelled(
        "tiny-1b (riddles): 24 items; tiny-1b (n): best of (tiny-1b) at 0.5 (riddles)", labels
    )
    assert told == "Tiny 1B (Riddles): 24 items; Tiny 1B (n): best of (Tiny 1B) at 0.5 (riddles)"


def test_verdicts_of_a_switch_lead_to_their_claims():
    linked = report._claims_linked("fv-search: holds (with BOS), not clear (without); a < b")
    assert linked == ('<a href="#claim-fv-search">fv-search</a>: holds (with BOS), not clear (without); a &lt; b')
    assert report._claims_linked("") == ""


def test_how_sure_the_test_is_says_on_how_many_models_it_rests():
    findings = read_findings(RESOURCES / FOLDER)
    told = dict(short.answers([], [], findings, ["Tiny 1B"], 2, True, []))
    assert "its 3 models are small, and only 2 of them have a function vector that works" in told["How sure that is"]
    assert "for 1 of 2 models: Tiny 1B." in told["What reading one token early does"]
    every = replace(findings, runs=findings.telling)
    assert "its 2 models are small." in dict(short.answers([], [], every, [], 2, True, []))["How sure that is"]
