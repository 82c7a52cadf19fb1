"""Rule `prepare_model`: download, convert if needed, write the manifest."""

from offcourse.models.fetch import prepare
from offcourse.run.script import script

with script(snakemake) as job:
    folder = job.output[0].parent
    prepare(job.registry.model(job.model), job.registry, folder, folder.parents[1] / "packages")
