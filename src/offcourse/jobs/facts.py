"""`model.json`: a model's facts, and whether it does what the table of classes says of it."""

from pathlib import Path
from typing import Any

from offcourse.artefacts import write_json
from offcourse.errors import OffcourseError
from offcourse.jobs.run import Job
from offcourse.models.fetch import verify, weights_digest
from offcourse.registry import Model

PROMPT = "Q: big\nA: small\n\nQ: hot\nA:"

# Columns of the registry that the loaded model must confirm.
CONFIRMED = ("layers", "heads", "kv_heads", "head_dim", "width", "vocabulary")


def write_facts(job: Job, out: Path) -> None:
    """Hash the prepared folder, load the model, run its self-checks and write `model.json`.

    Raises `OffcourseError` naming every check that failed and every registry column that the model contradicts.
    """
    from transformers import AutoTokenizer

    from offcourse.engine.attention import uninstalled
    from offcourse.engine.checks import engine_agrees
    from offcourse.models.checks import run_checks

    verify(job.folder)
    row, model = job.registry.model(job.model), job.engine.model
    plain = AutoTokenizer.from_pretrained(job.folder)(PROMPT).input_ids
    loaded = {name: int(getattr(model, name)) for name in CONFIRMED}
    _confirm(row, loaded)
    with uninstalled(model):
        checks = run_checks(model, job.tokenizer, plain, PROMPT)
    checks["the engine equals the plain model"] = engine_agrees(job.engine, job.tokenizer.encode(PROMPT))
    failed = [f"{name} (error {check['error']:.2g})" for name, check in checks.items() if not check["passed"]]
    if failed:
        raise OffcourseError(
            f"{job.model}: self-checks failed: {'; '.join(failed)}. Its row in src/offcourse/models/architectures.py "
            "does not fit this model, or its weights are damaged; no result is made from it."
        )
    facts: dict[str, Any] = {
        "name": row.name,
        "label": row.label,
        "class": row.architecture,
        **loaded,
        "adds_bos": job.tokenizer.adds_bos,
        "parameters": model.parameters,
        "dtype": str(model.module.dtype).removeprefix("torch."),
        "weights_digest": weights_digest(job.folder),
        "checks": checks,
    }
    write_json(out, facts)


def _confirm(row: Model, loaded: dict[str, int]) -> None:
    wrong = [
        f"{name} is {value}, the registry says {getattr(row, name)}"
        for name, value in loaded.items()
        if getattr(row, name) != value
    ]
    if wrong:
        raise OffcourseError(f"{row.name}: {'; '.join(wrong)}. Correct resources/models.tsv or choose another model.")
