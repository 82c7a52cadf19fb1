"""Whether a study's names exist and fit together: models, tasks, question sets, controls."""

from pathlib import Path
from typing import get_args

from offcourse.data.architectures import architecture, has_heads
from offcourse.data.folds import folds
from offcourse.data.names import RESOURCES, STEERING
from offcourse.data.passages import PASSAGES, neutral
from offcourse.data.pins import LOCK
from offcourse.data.questions import questions_sha256, tracked_questions
from offcourse.data.registry import Registry
from offcourse.data.rows import Model
from offcourse.data.tasks import word_list_sha256
from offcourse.errors import OffcourseError, did_you_mean, listed
from offcourse.schemas.function_vectors import READ_POSITIONS, REBUILT
from offcourse.schemas.prompts import BUILD_PROMPTS
from offcourse.settings import Operation, Positions, Site
from offcourse.steering import steering
from offcourse.steering.contract import RANDOM, Control, SteeringMethod
from offcourse.study.config import Study

# What tables call the paper's methods.
PAPER_LABELS = ("Function vectors", "Task vectors", "DoLa")


def check_study(
    study: Study, registry: Registry, resources: Path = RESOURCES, pinned: bool = True, base: Path = Path()
) -> None:
    """Raise `OffcourseError` unless every model, task and question set is known and has the data asked for.

    pinned: whether every model must be pinned too (`offcourse pin`). base: the study's working directory. The project's
    word lists and question sets are read here, so that a mistake in them is reported before anything runs.
    """
    shots = int(study.protocol.factor_shots)
    for key, sets, lettered in (
        ("dola", study.dola_questions, False),
        ("logit_lens", study.lens_questions, True),
    ):
        for name in sets:
            row = registry.question_set(name)
            needed = ("letters",) if lettered else ("primer", "continuation")
            if row.form not in needed:
                wanted = ", ".join(row.name for row in registry.questions.values() if row.form in needed)
                raise OffcourseError(f"{key}.questions: {name} does not have the form that is needed; use {wanted}")
            if key in study.methods:
                questions_sha256(row, getattr(study, key).limit, shots, resources)
    for name in study.models:
        model = registry.model(name)
        # Refuse a class that no path can run before anything is downloaded.
        architecture(model.architecture)
        _check_has_heads(study, model)
        if name in study.models_of("function_vectors") and model.layers and model.heads:
            study.sized(model.parameters).check_heads(name, model.layers, model.heads)
    for name in study.tasks:
        registry.task(name)
    for method in study.methods:
        _check_scope(study, method)
    _check_labels(study)
    for method in study.steering_methods:
        _check_asked(study, registry, method, shots, resources)
        configured = steering(method).configured(getattr(study, method), base)
        _check_edits(study, registry, method, configured)
        _check_measured(study, registry, method, configured)
    if "other_task" in study.function_vectors.controls and len(study.tasks_of("function_vectors")) == 1:
        raise OffcourseError(
            "function_vectors.controls: other_task needs a second task, whose vector it takes, but "
            "function_vectors has one task. Add a task, or leave other_task out."
        )
    _check_build_draws(study)
    for method in study.task_methods:
        for name in study.tasks_of(method):
            word_list_sha256(registry.task(name), study.data, resources, method=method)
    if pinned and (found := unpinned(study, registry, resources)):
        raise OffcourseError(found[0])


def _check_has_heads(study: Study, model: Model) -> None:
    """Raise `OffcourseError` if function vectors are asked of a model whose class has blocks without heads."""
    ours = study.models_of("function_vectors")
    if model.name not in ours or has_heads(model.architecture):
        return
    others = [name for name in ours if name != model.name]
    advice = (
        f"Set function_vectors: {{models: [{', '.join(others)}]}}"
        if others
        else "Take function_vectors out of methods, or add a model whose class has heads and name it in "
        "function_vectors.models"
    )
    raise OffcourseError(
        f"function_vectors.models: {model.name} is a {architecture(model.architecture).causal_lm}, which has blocks "
        "without attention heads, so there are no heads to take a vector from (docs/classes.md). Other methods run on "
        f"it. {advice}."
    )


def unpinned(study: Study, registry: Registry, resources: Path = RESOURCES) -> list[str]:
    """A sentence that names the study's models without a commit; none where every model is pinned."""
    names = [name for name in study.models if not registry.model(name).pinned]
    if not names:
        return []
    return [
        f"{len(names)} of the study's models are not pinned to a commit: {', '.join(names)}. Run `offcourse pin "
        f"--configfile FILE` (FILE is the study's) where the hub can be reached, and commit {resources / LOCK}."
    ]


def _check_build_draws(study: Study) -> None:
    """Raise `OffcourseError` for further draws of the build prompts that no control reads, or that `rebuilt` lacks."""
    one = study.function_vectors
    if REBUILT in one.controls and one.build_draws == 1:
        raise OffcourseError(
            f"function_vectors.controls: {REBUILT} is the vector from build prompts that are drawn again, but "
            f"build_draws is 1. Set function_vectors.build_draws to 2 or more, or leave {REBUILT} out."
        )
    if one.build_draws > 1 and not {*READ_POSITIONS, REBUILT} & set(one.controls):
        raise OffcourseError(
            f"function_vectors.build_draws: {one.build_draws} draws are read by no control of this study. Add one "
            f"of {', '.join((*READ_POSITIONS, REBUILT))} to function_vectors.controls, or leave build_draws out."
        )


def _check_scope(study: Study, method: str) -> None:
    """Raise `OffcourseError` unless a method's models and tasks are among the study's."""
    for key in ("models", "tasks"):
        ours = getattr(study, key)
        for name in getattr(getattr(study, method), key, None) or ():
            if name not in ours:
                raise OffcourseError(
                    f"{method}.{key}: {name!r} is not one of the study's {key}; {did_you_mean(name, ours)}"
                )


def _check_labels(study: Study) -> None:
    """Raise `OffcourseError` for methods of one label: tables tell methods apart by it."""
    seen = dict(zip(PAPER_LABELS, PAPER_LABELS, strict=True))
    for method in study.steering_methods:
        label = steering(method).label
        if label in seen:
            raise OffcourseError(
                f"src/offcourse/steering/{method}.py: its label {label!r} is that of {seen[label]} too, and tables "
                "tell methods apart by it. Use another label."
            )
        seen[label] = method


def _check_asked(study: Study, registry: Registry, method: str, shots: int, resources: Path) -> None:
    """Raise `OffcourseError` unless a steering method can be built from, and judged on, each of its question sets."""
    settings, able = getattr(study, method), [name for name in STEERING if steering(name).on_questions]
    if settings.questions and not steering(method).on_questions:
        raise OffcourseError(
            f"{method}.questions: {method} cannot be built from the answers of a question set (it has no "
            f"from_contrasts, docs/extending.md). Leave questions out; {', '.join(able)} can."
        )
    for name in settings.questions:
        row = registry.question_set(name)
        if row.form == "letters":
            wanted = ", ".join(row.name for row in registry.questions.values() if row.form != "letters")
            raise OffcourseError(f"{method}.questions: {name} has only letters as answers; use {wanted}")
        questions_sha256(row, settings.limit, shots, resources)
        if not row.fetched:
            folds(name, tracked_questions(row, settings.limit, shots, resources)[0])


def _check_words(method: str, one: SteeringMethod) -> None:
    """Raise `OffcourseError` for a module that says its edits in words that there are not."""
    for name, known in (("site", Site), ("operation", Operation), ("positions", Positions)):
        if (word := getattr(one, name)) not in get_args(known):
            raise OffcourseError(
                f"src/offcourse/steering/{method}.py: {name} = {word!r}; {did_you_mean(str(word), get_args(known))}"
            )


def _check_edits(study: Study, registry: Registry, method: str, one: SteeringMethod) -> None:
    """Raise `OffcourseError` for edits that there are not, or that a model of the study does not have.

    one: the method, as the study configures it.
    """
    _check_words(method, one)
    if one.positions == "first" and one.site != "residual":
        raise OffcourseError(
            f"{method}: the positions first have a vector for each token, which the residual stream alone can have, "
            f"and {method} edits {one.site}. Use other positions."
        )
    if one.site == "logits" and one.positions not in ("answer", "all"):
        raise OffcourseError(
            f"{method}: logits are edited wherever a token of an answer is predicted, and {method} says the positions "
            f"{one.positions}. Use answer."
        )
    if one.operation == "project_out" and (most := max(getattr(study, method).strengths)) > 1:
        raise OffcourseError(
            f"{method}.strengths: {most:g} is more than the whole of the component that {method} projects out. Use "
            "strengths of up to 1."
        )
    for model in map(registry.model, study.models_of(method)):
        if model.layers is not None:
            # A method of a file raises for a block that the model lacks.
            one.layer_sets(model.layers)
        if one.site == "heads" and not has_heads(model.architecture):
            raise OffcourseError(
                f"{method}.models: {model.name} is of a class with blocks without attention heads, whose outputs "
                f"{method} edits. Leave it out of {method}.models."
            )


def scores_itself(method: SteeringMethod) -> bool:
    """Whether a method decides which edits bring the answer, instead of the answer's first token."""
    return type(method).score is not SteeringMethod.score


def _check_judged(study: Study, method: str, one: SteeringMethod) -> None:
    """Raise `OffcourseError` for a steering method built on judged words, or asked for what it cannot have.

    one: the method, as the study configures it.
    """
    asked = getattr(study, method)
    if asked.passages > (there := len(neutral())):
        raise OffcourseError(
            f"{method}.passages: there are {there} neutral passages (resources/{PASSAGES}), fewer than "
            f"{asked.passages}. Ask for {there} or fewer, or add some to the file."
        )
    judged = [kind for kind in one.kinds if kind not in BUILD_PROMPTS]
    if one.site != "prompt" and judged:
        raise OffcourseError(
            f"{method}: its module declares the prompts {listed(judged)} in `kinds`, and these hold the items that it "
            f"is judged on. Build it from {listed(BUILD_PROMPTS)}, or from the word list."
        )
    if (built := [kind for kind in one.kinds if kind in BUILD_PROMPTS]) and study.protocol.splits != "disjoint":
        raise OffcourseError(
            f"{method} is built from the prompts {listed(built)}. With protocol.splits: {study.protocol.splits} they "
            "hold words that the method is judged on. Set protocol: {splits: disjoint}."
        )
    if asked.random_directions > 1 and RANDOM not in asked.controls:
        raise OffcourseError(
            f"{method}.random_directions: {asked.random_directions} directions are read by no control of this study. "
            f"Add {RANDOM} to {method}.controls, or leave random_directions out."
        )
    again = "draws no pairs of texts that could be drawn again or shuffled (`sampled` of its module)"
    refused = {}
    if not one.sided:
        refused["shuffled_labels"] = "has much the same direction when pairs are swapped (`sided` of its module)"
    if not one.sampled:
        refused |= {"draws": again, "shuffled_labels": again}
    if scores_itself(one):
        alone = "has a score of its own (`score` of its module), and these count the answer's first token"
        refused |= dict.fromkeys(("draws", "precisions"), alone)
    if one.operation in ("project_out", "scale"):
        refused["sign_flipped"] = f"edits states by {one.operation}, which has no direction that could be turned round"
    if one.shared:
        refused["wrong_task"] = "has the same vectors for every task"
    elif len(study.tasks_of(method)) == 1:
        refused["wrong_task"] = "has one task in this study, and the control takes another task's vectors"
    if one.site == "prompt":
        alone = "changes the prompt, so it has no vector that could be built again or replaced"
        refused |= dict.fromkeys(("draws", "precisions", *get_args(Control)), alone)
    numbers = [*(["draws"] if asked.draws > 1 else []), *(["precisions"] if asked.precisions else [])]
    for name in (*numbers, *asked.controls):
        if name in refused:
            key = name if name in numbers else f"controls: {name}"
            raise OffcourseError(f"{method}.{key} cannot be had: {method} {refused[name]}. Leave it out.")


def _check_precisions(study: Study, registry: Registry, method: str) -> None:
    """Raise `OffcourseError` for a precision that is a steering method's own on one of its models."""
    asked = study.dtype_of(method)
    key = f"{method}.dtype" if getattr(study, method).dtype else "numerics.dtype"
    for name in study.models_of(method):
        own = registry.model(name).dtype if asked == "auto" else asked
        if own in getattr(study, method).precisions:
            source = f"its dtype in resources/models.tsv, since {key} is auto" if asked == "auto" else key
            raise OffcourseError(
                f"{method}.precisions: {own} is the precision that {method} has on {name} already ({source}), so it "
                f"would be compared with itself. Leave {own} out of {method}.precisions, or set {method}.dtype to "
                "another precision."
            )


def _check_measured(study: Study, registry: Registry, method: str, configured: SteeringMethod) -> None:
    """Raise `OffcourseError` unless function vectors cover a steering method's models and tasks.

    A steering method is measured on the queries of function vectors and against their baselines. A model whose class
    has no heads has these prompts and baselines without function vectors.
    configured: the method, as the study configures it.
    """
    if not study.tasks and getattr(study, method).questions:
        return
    headless = [name for name in study.models_of(method) if not has_heads(registry.model(name).architecture)]
    if "function_vectors" not in study.methods:
        alone = headless and len(headless) == len(study.models)
        raise OffcourseError(
            f"methods: {method} is measured on the prompts and baselines of function_vectors; add function_vectors "
            "to methods"
            + (
                ", and a model whose class has attention heads to models and to function_vectors.models."
                if alone
                else "."
            )
        )
    _check_judged(study, method, configured)
    _check_precisions(study, registry, method)
    most = configured.demonstrations(getattr(study, method))
    if most > (shots := study.function_vectors.shots):
        raise OffcourseError(
            f"{method}.strengths: {most} demonstrations are more than function_vectors.shots ({shots}), whose prompts "
            f"{method} takes. Use fewer here, or more there."
        )
    for key, own, theirs in (
        ("models", study.models_of(method), [*study.models_of("function_vectors"), *headless]),
        ("tasks", study.tasks_of(method), study.tasks_of("function_vectors")),
    ):
        if missing := [name for name in own if name not in theirs]:
            raise OffcourseError(
                f"{method}.{key}: {', '.join(missing)} is not among function_vectors.{key}, whose prompts and "
                f"baselines {method} is measured on. Add it there, or leave it out of {method}.{key}."
            )
