"""Mean lines of the logit lens and of apathy read from the pages agree with other sources; wrong pages are refused."""

import numpy as np
import pytest
from edited_page import edited

from offcourse.archive import lens_pages, paths
from offcourse.archive.digitise import Line, Text, begins_axes, first_page
from offcourse.errors import OffcourseError
from offcourse.graph.release import APATHY_MODELS
from offcourse.published.convert import _readings
from offcourse.schemas.released import APATHY_MEANS, LENS_MEANS

PAGE = paths.lens_path("llama-7b")


@pytest.fixture(scope="module")
def made(release):
    return {
        (made.step, release.known(name).label): made.frame
        for name in release.names("readings")
        for made in _readings(release, name)
    }


def line(frame, name: str, column: str) -> np.ndarray:
    return frame.loc[frame["line"] == name].sort_values("layer")[column].to_numpy()


def test_every_page_is_read_and_fits_its_schema(made):
    lens = [label for step, label in made if step == "logit_lens"]
    assert len(lens) == 15 and {label for step, label in made if step == "apathy"} == set(APATHY_MODELS)
    for (step, _), frame in made.items():
        artefacts_schema = {"logit_lens": LENS_MEANS, "apathy": APATHY_MEANS}[step]
        artefacts_schema.validate(frame)
        assert (frame["n"] == 817).all()


def test_a_page_and_the_panel_of_the_figure_are_the_same_lines(release, made):
    """Figures 2, 6 and 7 draw the same means on other scales: where a panel has ticks the values agree, else shapes."""
    compared = 0
    for figure in ("4_logit_lens", "4_logit_lens_olmo", "4_logit_lens_others"):
        path = f"figures/logit_lens/{figure}.pdf"
        items, width = first_page(release.read(path), path)
        starts = [at for at, item in enumerate(items) if begins_axes(item, width)]
        for start, end in zip(starts, [*starts[1:], len(items)], strict=True):
            panel = items[start + 1 : end]
            said = {item.text for item in panel if isinstance(item, Text)}
            label = next((label for step, label in made if step == "logit_lens" and _title(label) in said), None)
            if label is None:
                assert "Llama-3 70B" in said  # without a page of its own
                continue
            tops = [item for item in panel if isinstance(item, Line) and item.operator == "S" and len(item.points) > 3]
            own = made["logit_lens", label]
            known = np.concatenate([line(own, name, "mean") for name in ("top", "correct", "incorrect")])
            drawn = np.concatenate([each.points[:, 1] for each in tops])
            fit = np.polynomial.Polynomial.fit(known, drawn, 1)
            assert np.abs(fit(known) - drawn).max() < 1e-5, label
            compared += 1
    assert compared == 11


def _title(label: str) -> str:
    return {"OLMo 7B": "OLMo 7B (Final)"}.get(label, label.partition(" (")[0])


def test_the_last_panel_of_figure_8_goes_from_0_to_1(made):
    for label in APATHY_MODELS:
        frame = made["apathy", label]
        both = frame[frame["line"].isin(["mha", "mlp"])]["scaled"]
        assert (both.min(), both.max()) == pytest.approx((0, 1), abs=1e-9)
        assert frame["scaled"].between(-1e-6, 1 + 1e-6).all()
    ticked = {label for label in APATHY_MODELS if (made["apathy", label]["calibration"] == "ticks").all()}
    assert ticked == {"Pythia 6.9B", "Llama 7B", "Llama-2 7B", "Llama-2 70B", "Llama-3 8B"}


def test_top_probabilities_were_scaled_by_half_precision_numbers(made):
    """Figure 8 scales them by the least and the largest of all questions, which a model in float16 gave."""
    for label in APATHY_MODELS:
        drawn, known = line(made["apathy", label], "top", "scaled"), line(made["logit_lens", label], "top", "mean")
        slope, start = np.polyfit(known, drawn, 1)
        largest = (1 - start) / slope
        if not label.startswith("Pythia"):
            assert abs(largest - float(np.float16(largest))) < 1e-6, label


def test_another_model_s_panel_is_refused(made):
    with pytest.raises(OffcourseError, match="here: its line Top is not that of the model's logit lens"):
        lens_pages.check_top(made["apathy", "Llama 7B"], made["logit_lens", "Llama-2 7B"], "here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.replace(b"46.441111 39.453551 m\n267.74701 39.453551 l", b"0 0 m\n267.74701 39.453551 l", 1),
         "has 0 panels, expected the one"),
        (lambda data: data.replace(b"(Correct) Tj", b"(Right) Tj"), "line Correct and its interval do not have"),
        (lambda data: data.replace(b"74.104349 44.738454 l", b"", 1), "do not have a vertex for each of 0..32"),
    ],
)  # fmt: skip
def test_a_page_of_another_shape_is_refused(release, change, message):
    page = edited(release.read(PAGE), change)
    with pytest.raises(OffcourseError, match=message):
        lens_pages.read_lens_page(page, 32, 817, PAGE)


def test_another_number_of_layers_is_refused(release):
    with pytest.raises(OffcourseError, match="a line has 33 vertices, the model has 28 layers"):
        lens_pages.read_lens_page(release.read(PAGE), 28, 817, PAGE)


def test_a_page_of_apathy_with_a_panel_less_is_refused(release):
    layers = {row.label: row.layers for row in release.registry.models.values()}
    page = release.read(paths.APATHY_PAGE)
    del layers["OLMo 7B"]
    with pytest.raises(OffcourseError, match="no model is called like a panel that says .*OLMo 7B"):
        lens_pages.read_apathy_page(page, layers, 817, "apathy")
    # Without its rectangle the last panel is part of the one before.
    other = edited(page, lambda data: data.replace(b"251.10798 62.584257 m\n412.443762 62.584257 l", b"0 0 m"))
    with pytest.raises(OffcourseError, match="apathy, Llama-3 8B: expected lines MHA and MLP with a vertex per block"):
        lens_pages.read_apathy_page(other, layers | {"OLMo 7B": 32}, 817, "apathy")
