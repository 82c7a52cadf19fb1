"""What the hub says about a model at one revision, without a download: commit, licence, gate, files and their sizes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from offcourse.data.pins import HUB, UNKNOWN, Pin
from offcourse.data.rows import Model
from offcourse.models.bins import pickled
from offcourse.models.hub import RefusedError, asking

TO_PIN = (
    "Run the same command where it can be reached (HF_ENDPOINT names another address of it), and commit the lock. "
    "Nothing was pinned."
)


@dataclass(frozen=True)
class LookedUp:
    """One answer of the hub. gated: "no", or the kind of gate. files: {path: bytes}."""

    commit: str
    date: datetime | None
    licence: str
    gated: str
    files: Mapping[str, int]

    def pin(self, model: Model) -> Pin:
        """The row of the lock of a model, whose revision this is the commit of."""
        return Pin(
            name=model.name,
            repo=model.repo,
            revision=model.revision,
            commit=self.commit,
            date=self.date.astimezone(UTC).isoformat(timespec="seconds") if self.date else UNKNOWN,
            licence=self.licence,
            gated=self.gated,
            source=HUB,
        )


@contextmanager
def asking_about(model: Model, advice: str = TO_PIN) -> Iterator[None]:
    """`asking` for questions that download nothing. advice: what to do where the hub cannot be reached."""
    where = f"{model.name} ({model.repo})"
    with asking(model, where, f"the hub cannot be asked about {where} ({{reason}}). {advice}"):
        yield


def look(model: Model, advice: str = TO_PIN) -> LookedUp:
    """Ask the hub about a model at its revision, and whether this machine's token may download its files.

    advice: what to do where the hub cannot be reached. Raises `RefusedError` when it may not, when the hub does not
    have the model, or when its files hold no weights that can be read; `OffcourseError` when the hub gives no usable
    answer.
    """
    with asking_about(model, advice):
        from huggingface_hub import HfApi

        api = HfApi()
        info = api.model_info(model.repo, revision=model.revision, files_metadata=True)
        if info.gated:
            # The description of a gated model is public, but its files need a token that may download them.
            api.auth_check(model.repo)
    files = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    if not any(name.endswith(".safetensors") for name in files) and not pickled(files):
        weights = [
            name for name in files if name.endswith((".bin", ".pt", ".pth", ".gguf", ".msgpack", ".h5", ".onnx"))
        ]
        raise RefusedError(
            f"{model.name} ({model.repo}) has no weights that can be read at {model.revision!r}: neither safetensors "
            f"nor pytorch_model.bin ({', '.join(weights[:3]) or 'no file of weights'}). Choose a `revision` in "
            "resources/models.tsv that has them."
        )
    return LookedUp(
        commit=info.sha,
        date=info.last_modified,
        licence=str((info.card_data.get("license") if info.card_data else None) or UNKNOWN),
        gated=str(info.gated or "no"),
        files=files,
    )
