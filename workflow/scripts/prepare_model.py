"""Rule `prepare_model`: download, convert if needed, write the manifest."""

from offcourse.models.fetch import prepare
from offcourse.run.script import script

with script(snakemake) as run:
    folder = run.output[0].parent
    prepare(run.registry.model(run.model), run.registry, folder, folder.parents[1] / "packages")
