"""Reading the answers of Slurm's commands."""

import pytest

from offcourse.cluster.slurm import Nodes, _minutes, _nodes


@pytest.mark.parametrize(
    ("gres", "cards"),
    [("(null)", 0), ("gpu:4", 4), ("gpu:a100:8(S:0-1)", 8), ("gpu:a100:2,shard:8,gpu:v100:4(S:0)", 6), ("mps:gpu", 0)],
)
def test_cards_of_a_node(gres, cards):
    assert _nodes(f"gpu*|{gres}|64|515000|infinite") == Nodes("gpu", True, cards, 64, 515000, None)


@pytest.mark.parametrize(
    ("limit", "minutes"), [("30:00", 30), ("12:30:00", 750), ("2-01:00:00", 2940), ("infinite", None), ("n/a", None)]
)
def test_time_limits(limit, minutes):
    assert _minutes(limit) == minutes
