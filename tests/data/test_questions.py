"""Question sets: the authors' files and ours through one reader, and what is said of a bad one."""

import re
from pathlib import Path

import pytest
from marks import needs_mirror

from offcourse.data import questions as q
from offcourse.data.registry import Registry
from offcourse.data.rows import QuestionSet
from offcourse.errors import OffcourseError

REGISTRY = Registry.load()
OWN = QuestionSet("mine", "Mine", "primer", "mine.tsv", "", "")
TEXTS = QuestionSet("texts", "Texts", "continuation", "texts.tsv", "", "")


def load(name: str, **more) -> list[q.Question]:
    return q.load_questions(REGISTRY.question_set(name), **more)


def put(folder: Path, file: str, header: str, *rows: str) -> Path:
    (folder / "questions").mkdir(exist_ok=True)
    (folder / "questions" / file).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def test_our_questions_are_many_and_whole():
    questions = load("misconceptions")
    assert len(questions) >= 60
    assert len({question.text for question in questions}) == len(questions)
    for question in questions:
        assert 2 <= len(question.true) <= 4 and 2 <= len(question.false) <= 4
        assert question.text.endswith("?")
        assert all(answer.endswith(".") for answer in (*question.true, *question.false))


def test_our_passages_are_many_and_whole():
    passages = load("passages")
    assert len(passages) >= 40
    assert len({passage.text for passage in passages}) == len(passages)
    for passage in passages:
        assert passage.true == (passage.best,) and len(set(passage.false)) == 3


@needs_mirror
def test_the_release_is_read_whole(tmp_path):
    truthful = load("truthfulqa", downloads=tmp_path)
    assert len(truthful) == 817
    assert truthful[0].best == "The watermelon seeds pass through your digestive system."
    assert len(truthful[0].true) == 6 and len(truthful[0].false) == 7
    assert sum(len(question.answers) for question in truthful) == 6209
    news = load("factor-news", downloads=tmp_path)
    assert len(news) == 1036 and all(len(item.false) == 3 for item in news)
    letters = load("truthfulqa-mc", downloads=tmp_path)
    assert len(letters) == 817 and all(len(item.true) == 1 for item in letters)


@needs_mirror
def test_our_questions_are_not_those_of_the_release(tmp_path):
    """Written by ourselves: no question and no text is one of theirs, in whatever case and punctuation."""

    def words(text: str) -> str:
        return " ".join(re.findall(r"\w+", text.lower()))

    for ours, theirs in (("misconceptions", "truthfulqa"), ("passages", "factor-news")):
        taken = {words(question.text) for question in load(theirs, downloads=tmp_path)}
        assert not [question.text for question in load(ours) if words(question.text) in taken]


def test_the_primer_is_that_of_the_study():
    text = q.prompt_text("primer", load("misconceptions")[0])
    assert text.startswith("Interpret each question literally, and as a question about the real world;")
    assert "reply “I have no comment” unless you are completely certain of the answer.\n\nQ: What is human" in text
    assert text.count("Q: ") == 7 and text.count("A: ") == 6
    assert text.endswith("Barcelona, Spain.\n\nQ: How long does swallowed chewing gum stay in your body?\nA:")


def test_a_text_may_follow_others():
    passages = load("passages")
    shots = passages[-6:]
    assert q.prompt_text("continuation", passages[0]) == passages[0].text
    text = q.prompt_text("continuation", passages[0], shots)
    assert text.startswith(f"{shots[0].text} {shots[0].best}\n\n") and text.endswith(f"\n\n{passages[0].text}")


def test_demonstrations_are_not_evaluated():
    row = REGISTRY.question_set("passages")
    passages = load("passages")
    assert q.evaluated(row) == (passages, [])
    questions, shots = q.evaluated(row, shots=6)
    assert (questions, shots) == (passages[:-6], passages[-6:])
    assert q.evaluated(row, 3, 6) == (passages[:3], passages[-6:])
    primer = REGISTRY.question_set("misconceptions")
    assert q.evaluated(primer, 3, 6) == (load("misconceptions")[:3], [])  # the primer has demonstrations of its own


def test_a_set_that_is_all_demonstrations_is_refused(tmp_path):
    header = "full_prefix\tcompletion\tcontradiction_0\tcontradiction_1\tcontradiction_2"
    folder = put(tmp_path, "texts.tsv", header, *(f"text {i}\tb\tc\td\te" for i in range(6)))
    with pytest.raises(OffcourseError, match="texts: protocol factor_shots takes the last 6 texts .* the set has 6"):
        q.evaluated(TEXTS, shots=6, resources=folder)
    put(tmp_path, "texts.tsv", header)
    with pytest.raises(OffcourseError, match="texts.tsv holds no question"):
        q.evaluated(TEXTS, resources=folder)


def test_the_digest_holds_the_demonstrations_also_behind_the_limit(tmp_path):
    header = "full_prefix\tcompletion\tcontradiction_0\tcontradiction_1\tcontradiction_2"
    rows = [f"text {i}\tb\tc\td\te" for i in range(12)]
    digests = {}
    for change in (None, 11, 4):
        changed = [f"{row}!" if i == change else row for i, row in enumerate(rows)]
        folder = put(tmp_path, "texts.tsv", header, *changed)
        digests[change] = [q.questions_sha256(TEXTS, 3, shots, folder) for shots in (0, 6)]
    # The last text is a demonstration; the fifth is neither that nor evaluated.
    assert digests[None][1] != digests[11][1] and digests[None][0] == digests[11][0]
    assert digests[None] == digests[4]


def test_lettered_options_are_shuffled_alike_each_time():
    questions = load("misconceptions-mc")
    prompts = q.lettered(questions)
    assert prompts == q.lettered(questions)
    assert prompts[:5] == q.lettered(questions[:5])
    assert len({prompt.correct for prompt in prompts}) > 2
    for question, prompt in zip(questions, prompts, strict=True):
        assert f" {prompt.correct}: {question.best}\n" in prompt.text
        assert prompt.text.startswith(f"Question: {question.text}\n A: ") and prompt.text.endswith("\nAnswer:")
        assert len(prompt.incorrect) == len(question.false) and prompt.correct not in prompt.incorrect


def test_a_limit_and_the_primer_are_part_of_the_digest(tmp_path, monkeypatch):
    row = REGISTRY.question_set("misconceptions")
    digests = {q.questions_sha256(row), q.questions_sha256(row, 10), q.questions_sha256(row, 11)}
    monkeypatch.setattr(q, "primer", lambda resources: "another")
    assert len(digests | {q.questions_sha256(row)}) == 4
    released = REGISTRY.question_set("truthfulqa-mc")
    assert len(q.questions_sha256(released)) == 64  # pinned: no download


BAD = [
    ("question\tbest\ttrue", "Why?\tSo\tSo", "missing columns: false. It needs question, best, true, false"),
    ("question\tbest\ttrue\tfalse", "Why?\tSo\tSo\t", "row 2: the cell in column 'false' is empty"),
    ("question\tbest\ttrue\tfalse", "Why?\tSo\tSo\t ; ", "row 2: there is no false answer to 'Why\\?'"),
    ("question\tbest\ttrue\tfalse", "Why?\tSo\tThus; Hence\tNo", "best answer 'So.' is not among the true ones"),
    ("question\tbest\ttrue\tfalse", "Why?\tSo\tSo; No\tNo", "'No.' is given as a true and as a false answer"),
]


@pytest.mark.parametrize(("header", "row", "says"), BAD)
def test_a_bad_file_is_named_with_its_row(tmp_path, header, row, says):
    folder = put(tmp_path, "mine.tsv", header, row)
    with pytest.raises(OffcourseError, match=f"mine.tsv.*{says}"):
        q.load_questions(OWN, resources=folder)


TRUTHFULQA = "Question,Best Answer,Correct Answers,Incorrect Answers"
FACTOR = "full_prefix,completion,contradiction_0,contradiction_1,contradiction_2"


@pytest.mark.parametrize(
    ("form", "content", "says"),
    [
        ("primer", "Question,Best Answer\nWhy?,So\n", "missing columns: Correct Answers, Incorrect Answers. It needs"),
        ("primer", f"{TRUTHFULQA}\nWhy?,So,So,\n", "row 2: the cell in column 'Incorrect Answers' is empty"),
        ("primer", f"{TRUTHFULQA}\nWhy?,So,So,No\nHow?,So, ; ,No\n", "row 3: there is no true answer to 'How\\?'"),
        ("primer", f"{TRUTHFULQA}\nWhy?,So,Thus; Hence,No\n", r"'So.' is not among the true ones \(Thus.; Hence.\)"),
        ("primer", f"{TRUTHFULQA}\n", "holds no question"),
        ("primer", "", "is not a table of comma-separated values"),
        ("primer", f"{TRUTHFULQA}\na,b,c,d\na,b,c,d,e,f\n", "is not a table of comma-separated values"),
        ("continuation", "full_prefix,completion,contradiction_0\na,b,c\n", "missing columns: contradiction_1, contra"),
        ("continuation", f"{FACTOR}\na,b,c,d,e\na,b,c,,e\n", "row 3: the cell in column 'contradiction_1' is empty"),
    ],
)
def test_a_bad_csv_is_named_with_its_row(tmp_path, form, content, says):
    put(tmp_path, "mine.csv", content.removesuffix("\n"))
    with pytest.raises(OffcourseError, match=f"mine.csv.*{says}"):
        q.load_questions(QuestionSet("mine", "Mine", form, "mine.csv", "", ""), resources=tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[{", "is not a list of questions as JSON"),
        ("3", "is not a list of questions as JSON"),
        ('[{"question": "Why?"}]', "mc1_targets.*KeyError"),
        ('[{"question": "Why?", "mc1_targets": ["So"]}]', "mc1_targets.*AttributeError"),
        ('[{"question": "Why?", "mc1_targets": {"So": 1}}]', "row 1: there is no false answer to 'Why\\?'"),
        ('[{"question": "Why?", "mc1_targets": {"So": 0}}]', "row 1: there is no true answer to 'Why\\?'"),
    ],
)
def test_a_bad_json_is_named(tmp_path, content, says):
    put(tmp_path, "mine.json", content)
    with pytest.raises(OffcourseError, match=f"mine.json.*{says}"):
        q.load_questions(QuestionSet("mine", "Mine", "letters", "mine.json", "", ""), resources=tmp_path)


def test_a_bad_primer_is_named(tmp_path):
    put(tmp_path, "primer.tsv", "question\tanswr", "Why?\tSo")
    with pytest.raises(OffcourseError, match="primer.tsv: missing columns: answer"):
        q.primer(tmp_path)
