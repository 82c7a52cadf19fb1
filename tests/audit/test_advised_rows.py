"""`offcourse audit` without a row or column says how to name one: what it says is typed, until a number is audited."""

import re

import pandas as pd
import pytest
from lab import SMOKE

from offcourse.audit.audit import Audit
from offcourse.audit.lineage import lineage_of
from offcourse.audit.rows import telling
from offcourse.cli.app import study_of
from offcourse.errors import OffcourseError

# What a message says to type, and into which option.
ADVICE = {
    "row": (r"as in --row (?P<quote>['\"])(?P<said>.*)(?P=quote)\.$", r"has no row .*: known: (?P<said>[^,]*)"),
    "column": (r"--column is one of (?P<said>'[^']*'|[^,]*?)(?:, .*)?\.$",),
}
# Without a number of this study to audit, or any.
NO_NUMBER = r"has no (row|point) in this study|was computed from no result of the study"
OTHERWISE = r"Audit (it|\S+) without --row and --column"


@pytest.fixture(scope="module")
def audit(finished):
    return Audit(*study_of(SMOKE, finished.folder))


def names(audit) -> list[str]:
    return [name for name in audit.names if not name.startswith("ro-crate/")]


def followed(audit, name: str) -> list[str]:
    """The messages on the way to a number of a table or figure, the last of them without a way on."""
    typed, messages = {"row": "", "column": None}, []
    while True:
        try:
            found = lineage_of(audit, name, **typed)
        except OffcourseError as error:
            messages.append(str(error))
        else:
            assert found["agrees"], name
            return messages
        said = {
            option: match["said"].strip("'")
            for option, patterns in ADVICE.items()
            for pattern in patterns
            if (match := re.search(pattern, messages[-1]))
        }
        if not said:
            return messages
        # An advice that was followed is not given again.
        assert messages.count(messages[-1]) == 1, messages[-1]
        typed |= said


def test_what_is_advised_leads_to_a_number_of_every_table_and_figure(audit):
    ended = {}
    for name in names(audit):
        messages = followed(audit, name)
        advised = (re.search(pattern, messages[-1]) for patterns in ADVICE.values() for pattern in patterns if messages)
        if messages and not any(advised):
            ended[name] = messages[-1]
    pages = {name: re.search(r"has pages, .*: (.*)\.$", said) for name, said in ended.items()}
    for name, offered in pages.items():
        if offered:
            assert set(offered[1].split(", ")) <= set(audit.names) - {name}
        else:
            assert re.search(f"{NO_NUMBER}|{OTHERWISE}", ended[name]), ended[name]
    assert len(names(audit)) > len(ended) + 25


def test_what_has_no_numbers_is_audited_without_a_row(audit):
    with pytest.raises(OffcourseError, match=OTHERWISE) as caught:
        lineage_of(audit, "report", "", None)
    for name in re.search(r"or name one of (.*)\.$", str(caught.value))[1].split(", "):
        assert any(path.endswith(".parquet") for path in audit.files(name))
    assert audit.files("report")


def test_columns_that_tell_rows_apart_are_names_first():
    frame = pd.DataFrame({"value": [0.1, 0.2, 0.3], "layer": [0, 1, 0], "task": ["a", "a", "b"], "same": ["x"] * 3})
    assert telling(frame, frame) == ["task", "layer"]
    assert telling(frame.iloc[:1], frame) == []
    assert telling(pd.concat([frame.iloc[:1]] * 2), frame) == []
