"""The axis of the figure of gain against harm says the ratios that it shows, whether they are 1.1 or ten million."""

import pytest
from matplotlib.figure import Figure

from offcourse.figures.gain_harm import set_ratios


@pytest.mark.parametrize(("low", "high", "least"), [(0.95, 1.3, 2), (0.9, 30.0, 2), (0.8, 4e7, 3)])
def test_every_label_is_the_number_at_its_place(low, high, least):
    figure = Figure()
    panel = figure.subplots()
    panel.plot([0, 1], [low, high])
    set_ratios(panel, low, high)
    figure.draw_without_rendering()
    axis = panel.yaxis
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    bottom, top = panel.get_ylim()
    shown = [(tick.get_loc(), tick.label1.get_text()) for tick in ticks if bottom <= tick.get_loc() <= top]
    said = [(place, float(text.replace(",", ""))) for place, text in shown if text]
    assert len(said) >= least and [text for _, text in said] == pytest.approx([place for place, _ in said])
    assert axis.get_offset_text().get_text() == ""
