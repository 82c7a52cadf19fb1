"""The report's sentences on a study's methods, with the study's parameters, and the versions that it ran with."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Packages whose versions the report shows, since they can change a number.
NUMERICAL = (
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "statsmodels",
)


def paragraphs(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(heading, text) for each of the study's methods, and for the statistics."""
    methods, said = study.get("methods", ()), []
    tasks = f"{len(study.get('tasks', ()))} tasks ({_and(study.get('tasks', ()))})"
    if "function_vectors" in methods:
        one = study["function_vectors"]
        said.append(
            (
                "Function vectors",
                f"On {tasks}. Mean head activations are taken over {one['trials']} prompts of {one['shots']} worked "
                f"examples; causal indirect effects over as many prompts with permuted answers. A function vector is "
                f"the sum of what the {_or(one['n_heads'])} heads of largest mean effect write into the residual "
                f"stream. It is added, times {_or(one['strengths'])}, to the output of one block at the last position "
                f"of a prompt without examples, at every block in turn, for at most {one['test_items']} test items; a "
                "hit is the first token of the answer. "
                + (f"Controls: {_and(one['controls'])}." if one["controls"] else "No control vectors were run."),
            )
        )
    if "task_vectors" in methods:
        one = study["task_vectors"]
        said.append(
            (
                "Task vectors",
                f"Prompts of {one['shots']} examples; a vector is the mean state at the last position over "
                f"{one['dummy_queries']} dummy queries, and replaces the state after one block in a prompt without "
                f"examples. The layer is chosen on {one['dev_items']} development prompts, next to "
                f"{one['test_items']} test prompts and {one['baseline_items']} prompts without examples.",
            )
        )
    if "dola" in methods:
        one = study["dola"]
        said.append(
            (
                "DoLa",
                "The score of an answer is the sum of its tokens' log-probabilities. DoLa contrasts the last layer "
                f"with the most different one of a bucket of earlier layers; buckets: {_text(one['buckets'])}; alpha: "
                f"{_or(one['alphas'])}; constant of the length bias: {one['length_bias']:g}."
                + (f" Only the first {one['limit']} questions of each set." if one["limit"] else ""),
            )
        )
    if "logit_lens" in methods:
        limit = study["logit_lens"]["limit"]
        said.append(
            (
                "Logit lens and apathy",
                "The state after each block at the last position, through the final norm and the unembedding; apathy "
                "as Eq. 6." + (f" Only the first {limit} questions of each set." if limit else ""),
            )
        )
    said.append(
        (
            "Statistics",
            "Intervals are at 95 %: of proportions Wilson's, of means of a figure as its caption says. Paired hits are "
            "compared by McNemar's exact test, the best of a grid with what the best of as many settings is by luck, "
            "by swapping hits with and without steering; p-values are corrected by Holm's procedure over the rows of a "
            "method.",
        )
    )
    return said


def versions(made: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(name, values) of packages and machines behind the results. made: the entries `made` of the results' records."""
    found: dict[str, set[str]] = {}

    def note(name: str, value: Any) -> None:
        if value not in (None, ""):
            found.setdefault(name, set()).add(str(value))

    for each in made:
        git = each.get("git", {})
        if git.get("commit"):
            note("Offcourse commit", git["commit"][:12] + (" with changes" if git.get("dirty") else ""))
        note("Python", each.get("python"))
        for package in NUMERICAL:
            note(package, each.get("packages", {}).get(package))
        numerics = each.get("numerics") or {}
        for name in ("dtype", "attention"):
            note(name, numerics.get(name))
        for other in numerics.get("precisions", ()):
            note("dtype", other)
        note("device", each.get("device"))
        note("platform", each.get("platform"))
    return [(name, ", ".join(sorted(values))) for name, values in found.items()]


def _text(value: Any) -> str:
    return _and(value) if isinstance(value, list | tuple) else str(value)


def _and(values: Sequence[Any]) -> str:
    return _joined(values, "and")


def _or(values: Sequence[Any]) -> str:
    return _joined(values, "or")


def _joined(values: Sequence[Any], word: str) -> str:
    texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return f" {word} ".join(filter(None, (", ".join(texts[:-1]), *texts[-1:])))
