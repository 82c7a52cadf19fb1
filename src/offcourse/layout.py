"""Where things are below a working directory."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths of one study; `base` is the working directory (`snakemake --directory`)."""

    study: str
    base: Path = Path()

    @property
    def results(self) -> Path:
        """Everything that belongs to this study alone."""
        return self.base / "results" / self.study

    @property
    def store(self) -> Path:
        """Shards, shared by all studies."""
        return self.base / "results" / "store"

    @property
    def downloads(self) -> Path:
        """Packages, archives and prepared models."""
        return self.base / "resources" / "downloads"

    def model_folder(self, model: str) -> Path:
        """A prepared model: configuration, safetensors, tokenizer, manifest."""
        return self.downloads / "models" / model

    def artefact(self, step: str, suffix: str, model: str, unit: str) -> Path:
        """The result of one step for one model and unit (a task or a question set)."""
        return self.results / model / step / f"{unit}{suffix}"

    def record(self, step: str, model: str, unit: str) -> Path:
        """What is known about how that result was made."""
        return self.results / "provenance" / model / step / f"{unit}.json"

    def rule_record(self, rule: str, model: str | None = None) -> Path:
        """What is known about a job that made tables, figures or facts: of one model, or of the whole study."""
        folder = self.results / "provenance"
        return (folder / model if model else folder) / f"{rule}.json"


def beside(stem: Path, suffix: str) -> Path:
    """`stem` with `suffix` put after it; names of models have dots (`pythia-6.9b`), so nothing is replaced."""
    return Path(stem).parent / f"{Path(stem).name}.{suffix}"


def picture_files(stem: Path) -> list[Path]:
    """The files of a picture."""
    return [beside(stem, suffix) for suffix in ("svg", "png", "parquet")]
