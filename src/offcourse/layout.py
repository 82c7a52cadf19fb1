"""Paths below a working directory: results, store, downloads, prepared models, records."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths of one study; `base` is the working directory (`snakemake --directory`)."""

    study: str
    base: Path = Path()

    @property
    def results(self) -> Path:
        """The folder of everything that belongs to this study alone."""
        return self.base / "results" / self.study

    @property
    def store(self) -> Path:
        """The folder of shards (results kept under a digest of what they were computed from), shared by all studies."""
        return self.base / "results" / "store"

    @property
    def downloads(self) -> Path:
        """The folder of downloaded packages and archives, and of prepared models."""
        return self.base / "resources" / "downloads"

    def model_folder(self, model: str) -> Path:
        """The folder of a prepared model: configuration, safetensors, tokenizer, manifest."""
        return self.downloads / "models" / model

    def receipt(self, model: str) -> Path:
        """The study's own copy of a prepared model's manifest: what it was made with. The folder belongs to all."""
        return self.results / model / "manifest.json"

    def fetched(self, rule: str) -> Path:
        """What says that the downloads of a rule (`fetch_words`, `fetch_questions`) are there. They belong to all."""
        return self.results / "provenance" / f"{rule}.tsv"

    def artefact(self, step: str, suffix: str, model: str, unit: str) -> Path:
        """The result of one step for one model and unit (a task or a question set)."""
        return self.results / model / step / f"{unit}{suffix}"

    def record(self, step: str, model: str, unit: str) -> Path:
        """The record of one result of a step: how the result was made."""
        return self.results / "provenance" / model / step / f"{unit}.json"

    def rule_record(self, rule: str, model: str | None = None) -> Path:
        """The record of a job that is no step (tables, figures, `model.json`), for one model or the whole study."""
        folder = self.results / "provenance"
        return (folder / model if model else folder) / f"{rule}.json"


def command_for_release(base: Path) -> str:
    """The command that puts the authors' release below `base`/results/published."""
    return (
        "make published"
        if Path(base).resolve() == Path.cwd()
        else f"snakemake published --cores all --directory {base}"
    )


def beside(stem: Path, suffix: str) -> Path:
    """`stem.suffix`. Model names contain dots (`pythia-6.9b`), so `Path.with_suffix` would cut them."""
    return Path(stem).parent / f"{Path(stem).name}.{suffix}"


def picture_files(stem: Path) -> list[Path]:
    """The files of a figure: the picture as SVG and PNG, and the drawn numbers as parquet."""
    return [beside(stem, suffix) for suffix in ("svg", "png", "parquet")]
