"""What a study's tables and figures are: their ids, titles, one-line explanations and paths, decided here only.

Imports nothing heavy: the workflow asks this module for file names each time it starts. Paths are relative to the
study's folder; each figure's SVG has a PNG and a parquet of the same stem beside it.
"""

from typing import TypedDict

from offcourse.present.labels import task_label


class Table(TypedDict):
    """One table."""

    id: str
    title: str
    explanation: str
    parquet: str


class Figure(TypedDict):
    """One picture. Pictures of the same `figure` (say, a page per model) share its `title` and `explanation`."""

    id: str
    figure: str
    title: str
    explanation: str
    alt: str
    svg: str
    model: str | None
    task: str | None


def tables() -> list[Table]:
    """The tables, in the report's order."""
    return [
        Table(
            id="table3",
            title="Table 3. How often function vectors recover in-context learning",
            explanation="Share of model-task pairs, with their count, whose best zero-shot accuracy with a function "
            "vector reaches the given fraction of the pair's own few-shot accuracy.",
            parquet="tables/table3.parquet",
        )
    ]


def figures(models: list[str], tasks: list[str]) -> list[Figure]:
    """Every picture of the study, in the report's order."""
    return [
        *(_sweep(model, task) for model in models for task in tasks),
        *(_cie(model) for model in models),
        _single(
            "figure11",
            "Figure 11. In-context accuracy by number of shots",
            "Accuracy without steering, from prompts with 0, 5 and 10 worked examples: mean over tasks with its 95% "
            "interval. It is what function vectors try to recover.",
            "Dots with intervals: mean accuracy over tasks for each model and number of shots.",
        ),
        _choice("figure13", "Figure 13. Best number of heads", "number of heads in the function vector"),
        _choice("figure14", "Figure 14. Best strength", "strength of the function vector"),
        _choice("figure15", "Figure 15. Best layer", "layer to add the function vector at, in % of the model's depth,"),
    ]


def _figure(identity: str, figure: str, title: str, explanation: str, alt: str, model=None, task=None) -> Figure:
    return Figure(
        id=identity,
        figure=figure,
        title=title,
        explanation=explanation,
        alt=alt,
        svg=f"figures/{identity}.svg",
        model=model,
        task=task,
    )


def _single(figure: str, title: str, explanation: str, alt: str) -> Figure:
    return _figure(figure, figure, title, explanation, alt)


def _sweep(model: str, task: str) -> Figure:
    return _figure(
        f"figure17/{model}_{task}",
        "figure17",
        "Figures 4 and 17. Accuracy of function vectors by layer",
        "Zero-shot accuracy when the function vector is added at one layer: a column per number of heads, a row per "
        "strength, between the unsteered zero-shot and few-shot accuracies.",
        f"Line panels of accuracy against layer for {model} on {task_label(task)}, one panel per number of heads "
        "and strength.",
        model,
        task,
    )


def _cie(model: str) -> Figure:
    return _figure(
        f"figure9/{model}",
        "figure9",
        "Figures 9 and 10. Causal indirect effect of each attention head",
        "Mean change in the probability of the right answer when a head's output is replaced by its mean on correct "
        "prompts; the strongest heads make the function vector. Every panel has a scale of its own.",
        f"Heat maps of causal indirect effect by layer and head for {model}, one panel per task.",
        model,
    )


def _choice(figure: str, title: str, what: str) -> Figure:
    return _single(
        figure,
        title,
        f"The {what} that recovers most, for each model and task; blank (–) where even the best setting recovers "
        "at most 20% of few-shot accuracy.",
        f"Heat map of models by tasks with the {what} that recovers most written in each cell.",
    )
