"""`model.json`: a model's facts, and the self-checks that compare the model with the table of classes."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from offcourse.data.architectures import ARCHITECTURES, path_of
from offcourse.data.names import PAPER
from offcourse.errors import OffcourseError
from offcourse.files import write_json
from offcourse.models.folder import AT_ITS_SOURCE
from offcourse.models.manifest import OpenedModel, verify, weights_digest

PROMPT = "Q: big\nA: small\n\nQ: hot\nA:"

# Columns of the registry that the loaded model must confirm, where they are filled in.
CONFIRMED = ("parameters", "layers", "heads", "kv_heads", "head_dim", "width", "mlp_width", "vocabulary")
# Columns that no model file holds, so only the registry knows them: the texts of Table 11, and Table 12.
DESCRIBED = (
    "family",
    "source",
    "repo",
    "revision",
    "norm",
    "position_embedding",
    "activation",
    "attention",
    "tokens",
    "learning_rate",
    "staged_pretraining",
    "post_trained",
    "base",
    "licence",
    "gated",
)
# All columns that `check_model` reads.
READ_OF_MODELS = ("name", "architecture", *CONFIRMED, "tied_embeddings", *DESCRIBED)
# Stands for all steering methods beyond the paper's, which edit the residual stream.
OTHER = "steering"
# {self-check: methods that need it}. Every method needs a self-check that is not listed.
SPEAKS_FOR = {
    "head slices sum to the attention output": ("function_vectors",),
    "every block has attention heads": ("function_vectors",),
    "sub-layers sum to the block output": ("logit_lens",),
    "an edit by zero changes nothing": ("function_vectors", "task_vectors", OTHER),
    "an edit changes the logits": ("function_vectors", "task_vectors", OTHER),
    "rows with an edited state equal one forward per edit": ("function_vectors", "task_vectors", OTHER),
    "rows with a replaced head equal one forward per head": ("function_vectors",),
    "continuations of a kept context equal one forward each": ("dola",),
    "edits of the state in a batch equal one forward per edit": ("function_vectors", "task_vectors", OTHER),
    "an edit equals the blocks behind it, called one by one": ("function_vectors", "task_vectors", OTHER),
    "replaced heads in a batch equal one forward per head": ("function_vectors",),
    "states within a prompt equal one forward per beginning": ("dola",),
}


def check_model(context, out: Path) -> None:
    """Hash the prepared folder, load the model, run its self-checks and write `model.json`.

    Raises `OffcourseError` naming every failed check that a method of the study needs, and every registry column that
    the model contradicts. `model.json` also says which other methods the model cannot run (`capabilities`).
    """
    from offcourse.engine.attention import uninstalled
    from offcourse.models.checks import run_checks
    from offcourse.models.file_check import NAME, weights_equal_files

    verify(context.folder)
    opened = OpenedModel.of(context.folder)
    # The row has the columns of the rule's key and no other, so that none is read without counting.
    whole, model = context.registry.model(context.model), context.engine.model
    row = SimpleNamespace(**{column: getattr(whole, column) for column in READ_OF_MODELS})
    plain = plain_ids(context.folder, PROMPT)
    loaded = {name: int(getattr(model, name)) for name in CONFIRMED}
    _confirm(row, loaded, model.tied)
    methods = sorted(context.study.methods_of(context.model))
    if "function_vectors" in methods:
        context.study.check_heads(row.name, model.layers, model.heads)
    with uninstalled(model):
        checks = run_checks(model, context.tokenizer, plain, PROMPT)
    checks[NAME] = weights_equal_files(model, context.folder)
    checks |= _agreement(context.engine, context.tokenizer, context.model)
    can = capabilities(checks, methods)
    against = {name for method in methods for name in can[method]["why_not"]}
    # A model that can run no method is refused, whichever methods the study has.
    if not any(method["runs"] for method in can.values()):
        against = {name for name, check in checks.items() if not check["passed"]}
    if against:
        raise OffcourseError(f"{context.model}: {_refusal(checks, against, model.module.dtype)}")
    facts: dict[str, Any] = {
        "name": row.name,
        "class": row.architecture,
        "row": _row(model.architecture),
        **_path(context.engine),
        **loaded,
        "context": model.context,
        **{column: getattr(row, column) for column in DESCRIBED},
        "configuration": configuration(model),
        "adds_bos": context.tokenizer.adds_bos,
        "dtype": str(model.module.dtype).removeprefix("torch."),
        "weights_digest": weights_digest(context.folder),
        "checks": checks,
        "capabilities": can,
    }
    opened.require_unchanged()
    write_json(out, facts)


def _agreement(engine, tokenizer, name: str) -> dict[str, dict]:
    """The engine's own checks. A row that was found by structure must pass each of them.

    Raises `OffcourseError` that names the class of such a row, and the failed checks with their errors.
    """
    from offcourse.engine.checks import engine_agrees
    from offcourse.engine.plain import PlainEngine
    from offcourse.engine.plain_checks import plain_agrees

    row, ids = engine.model.architecture, tokenizer.encode(PROMPT)
    agrees = plain_agrees if isinstance(engine, PlainEngine) else engine_agrees
    if path_of(row.name):
        return agrees(engine, ids)
    found = f"{name}: {row.causal_lm} is in no table of classes, and its row was found by structure"
    try:
        checks = agrees(engine, ids)
    # What goes wrong in a class that nobody has tried is not known before.
    except Exception as error:
        raise OffcourseError(
            f"{found}. A pass of the engine fails ({type(error).__name__}: {error}). No result is made from the model."
        ) from error
    if failed := {name: check for name, check in checks.items() if not check["passed"]}:
        said = "; ".join(
            f"{name} (error {check['error']:.2g}, limit {check['limit']:.2g})" for name, check in failed.items()
        )
        raise OffcourseError(
            f"{found}. Self-checks failed: {said}. No result is made from the model. Add the class to "
            "resources/classes.tsv (docs/extending.md) and run `make classes`, which finds out whether it runs on the "
            "plain path."
        )
    return checks


def report_checks(folder: Path, row) -> tuple[str, tuple[str, ...]]:
    """Run all self-checks on a model folder that is added as `row`; (what passed, the methods that the model can run).

    Raises `OffcourseError` when the folder cannot be loaded, or the model can run no method.
    """
    from offcourse.engine.attention import uninstalled
    from offcourse.engine.paths import engine_of
    from offcourse.models.checks import run_checks
    from offcourse.models.file_check import NAME, weights_equal_files
    from offcourse.models.tokenizer import Tokenizer

    engine, tokenizer = engine_of(folder, row.architecture, row.dtype), Tokenizer(folder)
    model = engine.model
    with uninstalled(model):
        checks = run_checks(model, tokenizer, plain_ids(folder, PROMPT), PROMPT)
    checks[NAME] = weights_equal_files(model, folder)
    checks |= _agreement(engine, tokenizer, row.name)
    can = capabilities(checks, ())
    if not any(method["runs"] for method in can.values()):
        failed = {name for name, check in checks.items() if not check["passed"]}
        raise OffcourseError(f"{row.name}: {_refusal(checks, failed, model.module.dtype)} Nothing was written.")
    passed = sum(check["passed"] for check in checks.values())
    lines = [f"{passed} of {len(checks)} self-checks passed, in {row.dtype}."]
    lines += [f"On the plain path (whole forwards): {path['why']}." for path in _path(engine).values()]
    lines += [
        f"  not for {method}: {'; '.join(found['why_not'])}" for method, found in can.items() if not found["runs"]
    ]
    return "\n".join(lines), tuple(method for method, found in can.items() if found["runs"])


def _path(engine) -> dict[str, dict[str, str]]:
    """{"path": its name, and why rows cannot be run} of a model on the plain path; nothing of any other model."""
    why = getattr(engine, "why", None)
    return {} if why is None else {"path": {"name": "plain", "why": why}}


def _row(row) -> dict[str, Any]:
    """The row of the model's class: which table has it, or that it was found by structure, and the parts it names."""
    table = "src/offcourse/data/architectures.py" if row.name in ARCHITECTURES else "resources/classes.tsv"
    parts = ("blocks", "final_norm", "attention_output", "mlp_output", "logit_scale", "residual_scale")
    return {
        "from": table if path_of(row.name) else "found by structure",
        **{part: getattr(row, part) for part in parts},
    }


def _refusal(checks: dict[str, dict], against: set[str], dtype) -> str:
    """The message for a refused model: why no result is made from the model, and what to do."""
    named = {name: check for name, check in checks.items() if name in against}
    if "every block has attention heads" in named:
        return (
            "its class has blocks without attention heads, so there are no heads to take a function vector from. Name "
            "the other models in function_vectors.models, or take function_vectors out of methods."
        )
    failed = "; ".join(f"{name} (error {check['error']:.2g})" for name, check in named.items())
    if all(check["error"] == float("inf") for check in named.values()):
        precision = str(dtype).removeprefix("torch.")
        return (
            f"self-checks failed: {failed}. The model's states are not finite numbers in {precision}; float16 "
            "overflows in some models. Set numerics.dtype, and the dtype of a method that has its own, to bfloat16 or "
            "float32. No result is made from the model."
        )
    return (
        f"self-checks failed: {failed}. The row of its class (docs/classes.md) does not fit this model, or its "
        "weights are damaged. No result is made from the model."
    )


def configuration(model) -> dict[str, Any]:
    """Facts of the loaded `LanguageModel`, in the class's own words (the registry uses the paper's)."""
    config = model.module.config
    activations = (getattr(config, name, None) for name in ("hidden_activation", "hidden_act", "activation_function"))
    return {
        "norm": type(model.norm).__name__,
        "activation": next(filter(None, activations), None),
        "parallel_blocks": model.architecture.is_parallel(config),
        "post_norms": list(model.architecture.post_norms),
        "attention_output_bias": any(projection.bias is not None for projection in model.projections),
        "sliding_window": getattr(config, "sliding_window", None),
        "attention_softcap": getattr(config, "attn_logit_softcapping", None),
        "final_softcap": model.final_softcap,
        "tied_embeddings": model.tied,
    }


def capabilities(checks: dict[str, dict], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{method: {"runs": whether the model can run it, "why_not": failed self-checks that the method needs}}.

    The methods are the paper's and those of the study (`methods`). Other steering methods of the package are not
    listed.
    """
    failed = [name for name, check in checks.items() if not check["passed"]]
    kinds = {method: method if method in PAPER else OTHER for method in (*PAPER, *methods)}
    against = {
        method: [name for name in failed if kind in SPEAKS_FOR.get(name, kinds.values())]
        for method, kind in kinds.items()
    }
    return {method: {"runs": not why, "why_not": why} for method, why in against.items()}


def plain_ids(folder: Path, text: str) -> list[int]:
    """Token ids of a text by `transformers`' tokenizer, without running code that comes with the model.

    Raises `OffcourseError` when `transformers` cannot open the folder's tokenizer.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)(text).input_ids
    # A fault in a file of the tokenizer can raise any error, at the first use of the faulty entry.
    except Exception as error:
        reason = (str(error) or "no reason given").splitlines()[0]
        raise OffcourseError(
            f"{folder}: transformers cannot open the tokenizer ({type(error).__name__}: {reason}), perhaps "
            f"for an entry of tokenizer_config.json. {AT_ITS_SOURCE}"
        ) from error


def _confirm(row: SimpleNamespace, loaded: dict[str, int], tied: bool) -> None:
    """Raise `OffcourseError` for each number of the registry that the loaded model contradicts."""
    wrong = [
        f"{name} is {value}, the registry says {getattr(row, name)}"
        for name, value in loaded.items()
        if getattr(row, name) not in (None, value)
    ]
    if row.tied_embeddings != tied:
        shares = {True: "shares its weights with the embedding", False: "has weights of its own"}
        says = "yes" if row.tied_embeddings else "no"
        wrong.append(f"the unembedding {shares[tied]}, the registry says {says} (tied_embeddings)")
    if wrong:
        raise OffcourseError(f"{row.name}: {'; '.join(wrong)}. Correct resources/models.tsv or choose another model.")
