"""Rule `prepare_model`: download, convert if needed, write the manifest."""

from pathlib import Path

from offcourse.jobs.log import logged
from offcourse.models.fetch import prepare
from offcourse.registry import Registry

with logged(snakemake.log[0]):
    registry = Registry.load()
    folder = Path(snakemake.output[0]).parent
    prepare(registry.model(snakemake.wildcards.model), registry, folder, folder.parents[1] / "packages")
