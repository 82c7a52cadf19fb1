"""Sweeps read from the pages give the printed Table 3; wrong pages are refused; some scales stay open."""

import pandas as pd
import pytest
from edited_page import edited

from offcourse.archive import paths, sweep
from offcourse.archive.digitise import read_page, read_panels
from offcourse.data.names import RESOURCES
from offcourse.data.rows import is_large
from offcourse.data.tsv import read_tsv
from offcourse.errors import OffcourseError

PAGE = paths.page_path("llama-7b", "antonym")


@pytest.fixture(scope="module")
def sweeps(release):
    found = {}
    for name in release.names("function_vectors"):
        tasks = release.sweep_tasks(name)
        found[release.folder(name)] = sweep.read_sweeps(release.read, name, tasks, release.model(name))
    return found


def test_every_page_is_read_and_none_is_left_open(sweeps):
    pages = [(model, task, each) for model, tasks in sweeps.items() for task, each in tasks.items()]
    assert len(pages) == 331
    assert {each.calibration for *_, each in pages} == {"page", "means"}
    settled = {(model, task) for model, task, each in pages if each.calibration == "means"}
    assert {model for model, _ in settled} == {"gpt-j-6b", "falcon-3-7b", "gemma-2-2b"} and len(settled) == 4
    assert all(len(each.candidates) > 1 for model, task, each in pages if (model, task) in settled)


def test_settings_that_were_not_drawn_are_said(sweeps):
    """The unfinished runs: by model and task, the number of settings without a line."""
    missing = {
        (model, task): len(each.missing)
        for model, tasks in sweeps.items()
        for task, each in tasks.items()
        if each.missing and model not in ("gpt-j-6b", "falcon-3-7b", "qwen2-1.5b", "gemma-2-2b")
    }
    assert missing == {
        ("gemma-2-27b", "english-spanish"): 1,
        ("gemma-2-27b", "spanish-english"): 13,
        ("gemma-2-9b", "country-capital"): 6,
        ("gemma-2-9b-it", "present-past"): 13,
        ("gemma-2-9b-it", "country-capital"): 2,
        ("qwen2.5-7b", "present-past"): 3,
    }
    # Too many heads for the model: a column or two of eight strengths each.
    assert {len(each.missing) for each in sweeps["gpt-j-6b"].values()} == {8}
    assert {len(each.missing) for each in sweeps["gemma-2-2b"].values()} == {16}


def test_table_3_follows_from_the_pages(release, sweeps):
    pairs = []
    for model, tasks in sweeps.items():
        if model not in release.registry.models:
            continue
        default = [2, 64] if is_large(release.registry.model(model).parameters) else [2, 16, 32]
        for each in tasks.values():
            rows = each.sweep[(each.sweep["strength"] == 1) & each.sweep["n_heads"].isin(default)]
            pairs.append((rows["hits"].max(), each.sweep["hits"].max(), each.shots["hits"][1]))
    frame = pd.DataFrame(pairs, columns=["FV default", "FV search", "five"]).astype(int)
    assert len(frame) == 324
    printed = (
        read_tsv(RESOURCES / "paper" / "table3.tsv")
        .set_index(["row", "column"])["printed"]
        .str.rstrip("%")
        .astype(float)
    )
    found = {
        (row, f"{quantile:.2f}"): 100 * (frame[row] >= quantile * frame["five"] - 1e-9).mean()
        for row in ("FV default", "FV search")
        for quantile in (0.5, 0.75, 0.9, 1.0)
    }
    differ = {cell: round(value, 1) for cell, value in found.items() if round(value) != printed[cell]}
    # 94 of 324; the paper prints 28 %. Two of the 94 are Gemma-2 27B to English, whose runs the paper's Figure 12 shows
    # in an earlier state than the pages.
    assert differ == {("FV search", "1.00"): 29.0}


def test_olmo_sft_is_kept_under_the_releases_name(sweeps):
    assert len(sweeps["olmos-7b"]) == 7 and sweeps["olmos-7b"]["antonym"].sweep["layer"].max() == 31


def without_a_panel(data: bytes) -> bytes:
    """The first axes: its white rectangle, and its lines."""
    start = data.index(b"78.767504 562.367037 m")
    end = data.index(b"168.308362 562.367037 m")
    return data[:start] + data[end:]


def test_a_page_with_a_panel_less_is_refused(release):
    with pytest.raises(OffcourseError, match=r"llama: 55 panels, which are no full grid of 8 x 7"):
        read_panels(edited(release.read(PAGE), without_a_panel), "llama")


def test_a_page_with_a_title_less_is_refused(release):
    page = edited(release.read(PAGE), lambda data: data.replace(b"(512) Tj", b"(many) Tj"))
    with pytest.raises(OffcourseError, match="56 panels in 8 rows and 7 columns, but titles of 8 strengths and 6 head"):
        read_panels(page, "llama")


def test_a_value_off_the_grid_is_refused(release):
    page = edited(release.read(PAGE), lambda data: data.replace(b"565.569331 l", b"565.409331 l"))
    with pytest.raises(OffcourseError, match="llama, .* heads, strength .*: no scale puts the accuracies within"):
        read_page(page, 50, 32, "llama")


def test_another_number_of_layers_is_refused(release):
    with pytest.raises(OffcourseError, match="a line has 32 vertices, the model has 28 layers"):
        read_page(release.read(PAGE), 50, 28, "llama")


def test_what_is_no_pdf_is_refused():
    with pytest.raises(OffcourseError, match="page cannot be read as a PDF page"):
        read_page(b"not a page", 50, 32, "page")
