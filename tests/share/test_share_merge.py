"""`offcourse.share.merge`: archives of another lab, and whether its results are used."""

import labs

from offcourse.layout import Layout
from offcourse.share.merge import merge


def test_a_second_lab_uses_what_the_first_computed(ran, archive, empty, tmp_path):
    base = labs.copy(empty, tmp_path / "second")
    [said] = merge([archive], Layout("", base))
    assert (said.new, said.usable, said.same, said.different) == (7, 7, 0, 0)
    assert all(units == [] for units in labs.run(base, labs.study()).values())
    for path in Layout("one", ran).results.glob("provenance/*/*/*.json"):
        mine = base / path.relative_to(ran)
        assert labs.made(mine) == labs.made(path) and labs.made(mine)["host"].startswith("salted:")
    assert not (base / "results" / "store").exists()
