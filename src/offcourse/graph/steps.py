"""The declarations of all steps, in an order in which they can run."""

from collections.abc import Iterator

from offcourse.data.names import STEERING
from offcourse.data.passages import PASSAGES
from offcourse.errors import OffcourseError
from offcourse.graph.step import Step
from offcourse.schemas.function_vectors import (
    CIE,
    FV_CONTROLS,
    FV_SWEEP,
    ICL,
    SIDE_EFFECTS,
    STEERING_CONTROLS,
    STEERING_DRAWS,
    STEERING_PRECISIONS,
    STEERING_SWEEP,
)
from offcourse.schemas.prompts import AGAIN, PROMPTS
from offcourse.schemas.questions import APATHY, DOLA, LOGIT_LENS, STEERED_ANSWERS
from offcourse.schemas.task_vectors import TV_SWEEP
from offcourse.steering import steering
from offcourse.steering.contract import Settings

_PAPER = {
    step.name: step
    for step in (
        Step(
            "prompts",
            "offcourse.methods.prompts:compute",
            ".parquet",
            PROMPTS,
            inputs={},
            methods=("function_vectors", "task_vectors", *STEERING),
            columns=("task_vector_match",),
            settings=(
                "function_vectors.shots",
                "function_vectors.trials",
                "function_vectors.test_items",
                "function_vectors.build_draws",
                "task_vectors.shots",
                "task_vectors.dummy_queries",
                "task_vectors.dev_items",
                "task_vectors.test_items",
                "task_vectors.baseline_items",
            ),
            switches=("splits", "sampling", "head_read_position"),
            reads="tokenizer",
        ),
        Step(
            "icl",
            "offcourse.methods.icl:compute",
            ".parquet",
            ICL,
            inputs={"prompts": ("icl",)},
            # A steering method is measured against these baselines, on a model without heads too.
            methods=("function_vectors", *STEERING),
            reads_logits=True,
        ),
        Step(
            "head_means",
            "offcourse.methods.head_means:compute",
            ".safetensors",
            None,
            inputs={"prompts": ("head_mean",)},
        ),
        Step(
            "cie",
            "offcourse.methods.cie:compute",
            ".parquet",
            CIE,
            inputs={"prompts": ("cie",), "head_means": ()},
            switches=("cie_output_bias",),
            reads_logits=True,
        ),
        Step(
            "function_vectors",
            "offcourse.methods.function_vectors:compute",
            ".safetensors",
            None,
            inputs={"head_means": (), "cie": ()},
            settings=("n_heads",),
            switches=("fv_output_bias",),
            reads="weights",
        ),
        Step(
            "fv_sweep",
            "offcourse.methods.fv_sweep:compute",
            ".parquet",
            FV_SWEEP,
            inputs={"prompts": ("query",), "function_vectors": ()},
            settings=("strengths",),
            reads_logits=True,
        ),
        Step(
            "fv_controls",
            "offcourse.methods.fv_controls:compute",
            ".parquet",
            FV_CONTROLS,
            inputs={
                "prompts": ("head_mean", "cie", "query", *AGAIN),
                "head_means": (),
                "cie": (),
                "function_vectors": (),
            },
            settings=("strengths", "controls", "control_draws", "build_draws"),
            switches=("cie_output_bias", "fv_output_bias"),
            asked_by="controls",
            borrows={"function_vectors": "other_task"},
            reads_logits=True,
        ),
        Step(
            "tv_icl",
            "offcourse.methods.tv_icl:compute",
            ".parquet",
            ICL,
            inputs={"prompts": ("tv_baseline", "tv_icl")},
            methods=("task_vectors",),
            columns=("task_vector_match",),
            settings=("synonyms",),
            reads="model and tokenizer",
            job="task_vectors",
            reads_logits=True,
        ),
        Step(
            "task_vectors",
            "offcourse.methods.task_vectors:compute",
            ".safetensors",
            None,
            inputs={"prompts": ("tv_test_dummy", "tv_dev_dummy")},
            methods=("task_vectors",),
        ),
        Step(
            "tv_sweep",
            "offcourse.methods.tv_sweep:compute",
            ".parquet",
            TV_SWEEP,
            inputs={"prompts": ("tv_test_query", "tv_dev_query"), "task_vectors": ()},
            methods=("task_vectors",),
            columns=("task_vector_match",),
            settings=("synonyms",),
            reads="model and tokenizer",
            job="task_vectors",
            reads_logits=True,
        ),
        Step(
            "dola",
            "offcourse.methods.dola:compute",
            ".parquet",
            DOLA,
            inputs={},
            methods=("dola",),
            columns=("form",),
            settings=("limit", "alphas", "buckets", "length_bias"),
            switches=(
                "dola_divergence",
                "dola_premature_norm",
                "dola_mask",
                "score_dtype",
                "length_bias",
                "factor_shots",
            ),
            reads="model and tokenizer",
        ),
        Step(
            "logit_lens",
            "offcourse.methods.logit_lens:compute",
            ".parquet",
            LOGIT_LENS,
            inputs={},
            methods=("logit_lens",),
            columns=("form",),
            settings=("limit",),
            reads="model and tokenizer",
            job="readings",
        ),
        Step(
            "apathy",
            "offcourse.methods.apathy:compute",
            ".parquet",
            APATHY,
            inputs={},
            methods=("logit_lens",),
            columns=("form",),
            settings=("limit",),
            reads="model and tokenizer",
            job="readings",
        ),
    )
}


# What is made of each method of `offcourse.steering`, on tasks and on question sets: the steps {method}_{part}.
PARTS = ("sweep", "side_effects", "draws", "controls", "precisions")
ASKED_PARTS = ("folds", "answers")


def part_of(step: str) -> tuple[str, str]:
    """(steering method, part) of a step {method}_{part}; two empty texts for any other step."""
    for part in (*PARTS, *ASKED_PARTS):
        method = step.removesuffix(f"_{part}")
        if method != step and method in STEERING:
            return method, part
    return "", ""


def _own_settings(name: str) -> tuple[str, ...]:
    """The settings of a steering method that decide its vectors, not those that every method has (strengths, tasks)."""
    method = steering(name)
    aside = {*Settings.model_fields, *method.unkeyed}
    return tuple(key for key in type(method.settings).model_fields if key not in aside)


def _steering_steps(name: str) -> Iterator[Step]:
    """The steps of a method of `offcourse.steering`: its vectors (under the method's name), and what is made of them.

    That is their sweep, side effects, and with the method's `draws`, `controls` and `precisions` these. A method that
    changes the prompt has no vectors, so it has a sweep and side effects alone.
    """
    method, settings = steering(name), _own_settings(name)
    shared = {"methods": (name,), "columns": method.columns, "more_code": (f"offcourse.steering.{name}",)}
    swept = {"settings": ("strengths", *settings), "reads": "model and tokenizer", "reads_logits": True, **shared}
    target = "offcourse.methods.steering:"
    aside = {f"{name}_sweep": (), "prompts": ("icl",), "icl": ()}
    effects = swept | {
        "suffix": ".parquet",
        "schema": SIDE_EFFECTS,
        "settings": ("passages", *settings),
        "others": ("prompts", "icl"),
        "tracked": (PASSAGES,),
    }
    if method.site == "prompt":
        inputs = {"prompts": ("query", *method.kinds)}
        yield Step(f"{name}_sweep", f"{target}asked", ".parquet", STEERING_SWEEP, inputs, **swept)
        yield Step(f"{name}_side_effects", "offcourse.methods.side_effects:asked", inputs=aside, **effects)
        return
    yield Step(
        name,
        f"{target}vectors",
        ".safetensors",
        None,
        inputs={"prompts": method.kinds} if method.kinds else {},
        settings=settings,
        switches=("splits",),
        reads="model and tokenizer",
        **shared,
    )
    inputs = {"prompts": ("query",), name: ()}
    yield Step(f"{name}_sweep", f"{target}sweep", ".parquet", STEERING_SWEEP, inputs, **swept)
    aside = {name: (), **aside}
    yield Step(f"{name}_side_effects", "offcourse.methods.side_effects:compute", inputs=aside, **effects)
    again = {**swept, "switches": ("splits",), "reads_words": not method.kinds}
    inputs = {"prompts": ("query", *method.kinds), name: ()}
    yield Step(
        f"{name}_draws",
        "offcourse.methods.reliability:draws",
        ".parquet",
        STEERING_DRAWS,
        inputs | {f"{name}_sweep": ()},
        **again | {"settings": ("draws", *settings), "asked_by": "draws"},
    )
    yield Step(
        f"{name}_controls",
        "offcourse.methods.reliability:controls",
        ".parquet",
        STEERING_CONTROLS,
        inputs,
        **again | {"settings": ("strengths", "controls", "random_directions", *settings), "asked_by": "controls"},
        borrows={name: "wrong_task"},
    )
    inputs = {"prompts": ("query", *method.kinds), name: (), f"{name}_sweep": ()}
    again["more_code"] += ("offcourse.run.context:StepContext.in_precisions",)
    yield Step(
        f"{name}_precisions",
        "offcourse.methods.precisions:compute",
        ".parquet",
        STEERING_PRECISIONS,
        inputs,
        **again | {"settings": ("precisions", *settings), "asked_by": "precisions"},
    )


def _question_steps(name: str) -> Iterator[Step]:
    """The steps of a steering method on question sets: its vectors for two folds, and the scores of answers."""
    method = steering(name)
    if not method.on_questions:
        return
    settings = [key for key in _own_settings(name) if key not in method.task_settings]
    target = "offcourse.methods.question_steering:"
    shared = {
        "methods": (name,),
        "switches": ("factor_shots",),
        "reads": "model and tokenizer",
        "more_code": (f"offcourse.steering.{name}",),
        "asked_by": "questions",
    }
    scored = {"settings": ("strengths", "limit", *settings), "reads_logits": True, "reads_words": True, **shared}
    if method.site == "prompt":
        columns = ("form", "description")
        yield Step(f"{name}_answers", f"{target}prompted", ".parquet", STEERED_ANSWERS, {}, columns, **scored)
        return
    folds = {"settings": ("limit", *settings), **shared}
    yield Step(f"{name}_folds", f"{target}vectors", ".safetensors", None, {}, ("form",), **folds)
    inputs = {f"{name}_folds": ()}
    yield Step(f"{name}_answers", f"{target}answers", ".parquet", STEERED_ANSWERS, inputs, ("form",), **scored)


def _all_steps() -> dict[str, Step]:
    """All steps by name. Raises `OffcourseError` for a steering method with the name of another step."""
    found = dict(_PAPER)
    for step in (step for name in STEERING for step in (*_steering_steps(name), *_question_steps(name))):
        if step.name in found:
            raise OffcourseError(
                f"src/offcourse/steering/{step.methods[0]}.py: there is a step {step.name} already; rename the file."
            )
        found[step.name] = step
    return found


STEPS = _all_steps()
