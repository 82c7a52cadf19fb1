"""The catalogue of a study's tables and figures: ids, titles, short explanations and paths.

This module imports nothing heavy, since the workflow asks it for file names at each start. Paths are relative to the
study's folder. Beside the SVG of a figure there are a PNG and a parquet file with the same stem.
"""

from collections.abc import Sequence
from typing import TypedDict

from offcourse.data.names import STEERING

# Files other than Python from which the report is written.
TEMPLATES = ("report.html.j2", "report.css", "report.js")


class Table(TypedDict):
    """One table."""

    id: str
    title: str
    explanation: str
    parquet: str


class Figure(TypedDict):
    """One picture. Pictures of one `figure` (for example a page per model) share `title` and `explanation`.

    alt: where the picture has a model, task or question set, {model}, {task} or {questions} stands for its label.
    """

    id: str
    figure: str
    title: str
    explanation: str
    alt: str
    svg: str
    model: str | None
    task: str | None
    questions: str | None


TABLE_METHODS = Table(
    id="table_methods",
    title="Steering methods compared",
    explanation="Mean accuracy without a vector (0-shot), with one at the best layer and setting (steered) and with "
    "examples (few-shot); then the share of model-task pairs whose best accuracy reaches the given fraction of "
    "few-shot accuracy. Task vectors are on prompts and words of their own, so compare their row within itself.",
    parquet="tables/table_methods.parquet",
)
TABLE_METHODS_QUESTIONS = Table(
    id="table_methods_questions",
    title="Steering methods on question sets",
    explanation="Shares of questions without a vector (unsteered), with one at the best layer and strength (steered) "
    "and with an instruction in front (prompting), and what steering changes against both. No question is judged by a "
    "vector that was built from it: each fold of a set is judged by the vectors of the other. DoLa, in its best "
    "setting, stands beside the methods where they are on the same set.",
    parquet="tables/table_methods_questions.parquet",
)
DOLA_TABLES = {
    1: (
        "Truthfulness of DoLa",
        "Shares from 0 to 1: MC1 (the best answer is above every false one), MC2 (weight of true answers) and MC3 "
        "(true answers above every false one), of the unsteered model and of DoLa in its best setting by MC1.",
    ),
    2: ("FACTOR accuracy of DoLa", "How often, in %, the faithful continuation scores highest, without and with DoLa."),
    4: ("Truthfulness by bucket, smaller models", "DoLa with each bucket of premature layers, at one alpha."),
    5: ("Truthfulness by bucket, larger models", "As Table 4, for models above 27 billion parameters."),
    6: ("Truthfulness by alpha", "DoLa at each model's best bucket."),
    7: ("Softmax and length bias", "What DoLa without its softmax and a mere length bias reach."),
    8: (
        "FACTOR accuracy by bucket, smaller models",
        "DoLa with each bucket of premature layers, at one alpha (shares).",
    ),
    9: ("FACTOR accuracy by bucket, larger models", "As Table 8, for models above 27 billion parameters."),
    10: ("FACTOR accuracy by alpha", "DoLa at each model's best bucket (shares)."),
}
FACT_TABLES = {
    11: (
        "Architecture of the models",
        "Layers, heads and sizes, and what the models are built of, under the paper's headings.",
    ),
    12: (
        "Training of the models",
        "Tokens and learning rate of pretraining, and whether post-training followed it, under the paper's headings.",
    ),
}


# Tables that the paper does not have. A study has a table if it has one of the methods listed with the table.
OTHER_TABLES = [
    (TABLE_METHODS, set(STEERING)),
    (TABLE_METHODS_QUESTIONS, set(STEERING)),
]


def tables(methods: Sequence[str] = ("function_vectors",)) -> list[Table]:
    """The tables of a study with these methods, in the report's order."""
    titles = {}
    if {"function_vectors", "task_vectors"} & set(methods):
        titles[3] = (
            "How often steering vectors recover in-context learning",
            "Share of model-task pairs, with their count, whose best zero-shot accuracy with a function vector (FV) or "
            "a task vector (TV) reaches the given fraction of few-shot accuracy. Below each, its 95% interval.",
        )
    if "dola" in methods:
        titles |= DOLA_TABLES
    titles |= FACT_TABLES
    numbered = [
        Table(
            id=f"table{number}",
            title=f"Table {number}. {title}",
            explanation=explanation,
            parquet=f"tables/table{number}.parquet",
        )
        for number, (title, explanation) in sorted(titles.items())
    ]
    return numbered + [table for table, needs in OTHER_TABLES if needs & set(methods)]


def figures(
    models: Sequence[str],
    tasks: Sequence[str],
    methods: Sequence[str] = ("function_vectors",),
    lens_questions: Sequence[str] = (),
    post_training: Sequence[tuple[str, str]] = (),
    task_vector_models: Sequence[str] | None = None,
    steering: Sequence[tuple[str, str, Sequence[str]]] = (),
) -> list[Figure]:
    """Every picture of a study with these methods, in the report's order.

    models, tasks: of function vectors. task_vector_models: of task vectors (None: the models of function vectors).
    lens_questions: question sets of the logit lens. steering: (name, label, models) of each method of
    `offcourse.steering`. post_training: (base, post-trained) pairs of models; Figure 16 needs one at least.
    """
    shown = [OFF_BY_ONE] if "function_vectors" in methods else []
    if {"function_vectors", "task_vectors", "logit_lens"} & set(methods):
        shown.append(OVERVIEW)
    if {"function_vectors", "task_vectors"} & set(methods):
        shown.append(RECOVERY)
    if "function_vectors" in methods:
        shown += _function_vectors(models, tasks)
    if "task_vectors" in methods:
        shown += [_task_vectors(model) for model in (models if task_vector_models is None else task_vector_models)]
        if post_training:
            shown.append(POST_TRAINING)
    if "logit_lens" in methods:
        for name in lens_questions:
            shown += [_lens(name)]
        shown += [_apathy(name) for name in lens_questions]
    shown += [figure for figure, needs in OTHER_FIGURES if needs & set(methods)]
    shown += [_steering(name, label, model) for name, label, its_models in steering for model in its_models]
    return shown


def _function_vectors(models: Sequence[str], tasks: Sequence[str]) -> list[Figure]:
    return [
        HEADS,
        *(sweep_page(model, task) for model in models for task in tasks),
        *(effects_page(model) for model in models),
        _single(
            "figure11",
            "Figure 11. In-context accuracy by number of shots",
            "Accuracy without steering, from prompts with 0, 5 and 10 worked examples: mean over tasks with its 95% "
            "interval (Student's, on the scale of log odds; none where every task has 0). It is what function vectors "
            "try to recover.",
            "Dots with intervals: mean accuracy over tasks for each model and number of shots.",
        ),
        _choice("figure13", "Figure 13. Best number of heads", "number of heads in the function vector"),
        _choice("figure14", "Figure 14. Best strength", "strength of the function vector"),
        _choice("figure15", "Figure 15. Best layer", "layer to add the function vector at, in % of the model's depth,"),
    ]


def _task_vectors(model: str) -> Figure:
    return _figure(
        f"figure18/{model}",
        "figure18",
        "Figures 18 and 19. Accuracy of task vectors by layer",
        "Zero-shot accuracy when the output of one layer is replaced by the task vector, on development prompts, "
        "between the accuracies without a vector; a panel per task. The grey band is the 95% interval of zero-shot "
        "accuracy.",
        "Line panels of accuracy against layer for {model}, one panel per task.",
        model,
    )


def _steering(method: str, label: str, model: str) -> Figure:
    return _figure(
        f"figure_{method}/{model}",
        f"figure_{method}",
        f"{label}: accuracy by layer or strength",
        f"Zero-shot accuracy with {label} against the layer that it edits, a line per strength, between the accuracies "
        "without a vector; a panel per task. A method that edits all layers at once, or the prompt, is shown against "
        "its strength.",
        "Line panels of accuracy against layer or strength for {model}, one panel per task.",
        model,
    )


def _lens(questions: str) -> Figure:
    return _figure(
        f"figure2/{questions}",
        "figure2",
        "Figures 2, 6 and 7. Logit lens by layer",
        "What each layer would predict of a lettered question: the probability of its most likely token, of the right "
        "letter and of the likeliest wrong one. The paper's three figures differ in their models only.",
        "Lines of probability against layer on {questions}, one panel per model.",
        questions=questions,
    )


def _apathy(questions: str) -> Figure:
    return _figure(
        f"figure8/{questions}",
        "figure8",
        "Figure 8. Apathy of attention and feed-forward by layer",
        "How little each sub-layer moves the residual stream (Eq. 6), beside the probability of the most likely token, "
        "each scaled to its range, with 95% intervals over questions where a study has them.",
        "Lines of scaled apathy against layer on {questions}, one panel per model.",
        questions=questions,
    )


def _figure(
    identity: str, figure: str, title: str, explanation: str, alt: str, model=None, task=None, questions=None
) -> Figure:
    return Figure(
        id=identity,
        figure=figure,
        title=title,
        explanation=explanation,
        alt=alt,
        svg=f"figures/{identity}.svg",
        model=model,
        task=task,
        questions=questions,
    )


def _single(figure: str, title: str, explanation: str, alt: str) -> Figure:
    return _figure(figure, figure, title, explanation, alt)


OVERVIEW = _single(
    "figure1",
    "Figure 1. The methods at work on models that differ",
    "From top to bottom the logit lens, function vectors and task vectors, as far as they are here, layer by layer; "
    "from left to right models: those of the paper's figure where they are all here, else all of up to three, else the "
    "ones that a method steers least, middling and most. A function vector is in the setting that its title names: the "
    "paper's, or the best of the grid.",
    "Line panels against layer, one row per method and one column per model: probabilities of the logit lens, and "
    "accuracies with a vector between those without one.",
)
OFF_BY_ONE = _single(
    "figure_off_by_one",
    "One token early: what the released code read, and what it moves",
    "Left, a comparison between models: peak recovery of each model in the authors' released results (Eq. 7, mean over "
    "its tasks with Student's 95% interval). Orange: the tokenizer adds a BOS (beginning-of-sequence) token, so heads "
    "were read one token early. Dashed: the mean of each group. Right, a test on the same models: best accuracy of the "
    "vector with heads read at the last token and one token early, everything else equal, with Wilson's 95% intervals; "
    "a grey line joins the two, and beside it stands their difference over the same items, with its interval. A grey "
    "difference says nothing: the vector does not work at the last token either. The runs are this study's where it "
    "has the control read_position, else those of the study off-by-one.",
    "Left, dots with intervals: peak recovery of every released model, sorted, in two colours by whether its tokenizer "
    "adds a BOS. Right, pairs of dots with intervals: accuracy with heads read at the last token and one token early.",
)
RECOVERY = _single(
    "figure3",
    "Figures 3 and 12. Recovery by model and group of tasks",
    "How much of few-shot accuracy a vector gives back: on average over layers (Eq. 8) and at the best layer (Eq. 7), "
    "for function vectors (FV) in the default setting and in the best of the grid, and for task vectors (TV). "
    "Translations are means by direction. Colours change hue at 1, above which a vector gives more than the examples "
    "do; a dash was not run. What a model answers without a vector is not taken off, so a share can be high where "
    "nothing is steered: what steers each model is tested above. With the protocol as published, the average of "
    "task vectors is mean times maximum over few-shot accuracy, as the released code has it. Where a study has "
    "controls, theirs is the mean over vectors that "
    "should do nothing, each at the best of the same grid. The paper's two figures differ in their models only.",
    "Heat maps of models by groups of tasks with the recovered share of few-shot accuracy written in each cell, one "
    "map per method and measure.",
)
HEADS = _single(
    "figure5",
    "Figure 5. Recovery by number of heads",
    "Peak recovery with a given number of heads in the function vector, over strengths and layers: mean over "
    "model-task pairs by group of tasks, with the 95% interval of a bootstrap over models and tasks; and, where there "
    "are pairs of models, what post-training changes, with Student's 95% interval over the pairs.",
    "Lines with intervals: mean peak recovery against the number of heads, one line per group of tasks.",
)
POST_TRAINING = _single(
    "figure16",
    "Figure 16. Task vectors after post-training",
    "Change of peak recovery by task vectors from a base model to the model post-trained from it: mean over pairs of "
    "models with its 95% interval.",
    "Dots with intervals: change of peak recovery for each group of tasks.",
)


# Single pictures that the paper does not have. A study has a picture if it has one of the methods listed with it.
OTHER_FIGURES: list[tuple[Figure, set[str]]] = [
    (
        _single(
            "figure_gain_harm",
            "Gain against harm",
            "What steering gains on its tasks, against the perplexity of neutral passages with it, as a ratio to the "
            "perplexity without it (logarithmic): a point per method and model, with 95% intervals. Settings are "
            "chosen on other items than those they are measured on; side effects are those of the setting that is "
            "best over all items. The star is the prompting baseline. Below and to the right is better.",
            "Points with intervals: gain in accuracy against the ratio of perplexities, one per method and model.",
        ),
        set(STEERING),
    ),
    # (the picture, {"function_vectors"}),
]


def sweep_page(model: str, task: str) -> Figure:
    """The picture of one model and task in Figures 4 and 17."""
    return _figure(
        f"figure17/{model}_{task}",
        "figure17",
        "Figures 4 and 17. Accuracy of function vectors by layer",
        "Zero-shot accuracy when the function vector is added at one layer: a column per number of heads, a row per "
        "strength, between the unsteered zero-shot and few-shot accuracies. The grey band is the 95% interval of "
        "zero-shot accuracy: a point inside may be chance, and so may the best of many points a little above. A page "
        "on which every setting stays inside is one panel. Thin grey lines, where a study has them, are controls: "
        "vectors that should do nothing; a dashed one is the function vector read at the other position "
        "(protocol head_read_position).",
        "Line panels of accuracy against layer for {model} on {task}, one panel per number of heads and strength.",
        model,
        task,
    )


def effects_page(model: str) -> Figure:
    """The picture of one model in Figures 9 and 10."""
    return _figure(
        f"figure9/{model}",
        "figure9",
        "Figures 9 and 10. Causal indirect effect of each attention head",
        "Mean change in the probability of the right answer when a head's output is replaced by its mean on correct "
        "prompts; the strongest heads make the function vector. Each panel names its least and largest effect; all "
        "share one scale, linear around 0 and logarithmic beyond.",
        "Heat maps of causal indirect effect by layer and head for {model}, one panel per task.",
        model,
    )


def _choice(figure: str, title: str, what: str) -> Figure:
    return _single(
        figure,
        title,
        f"The {what} that recovers most, for each model and task, with a * where others recover as much; blank (–) "
        "where even the best setting recovers at most 20% of few-shot accuracy.",
        f"Heat map of models by tasks with the {what} that recovers most written in each cell.",
    )
