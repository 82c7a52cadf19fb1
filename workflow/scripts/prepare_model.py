"""Rule `prepare_model`: download, convert if needed, write the manifest; the study keeps a copy of the manifest."""

from offcourse.models.fetch import prepare
from offcourse.models.manifest import MANIFEST
from offcourse.run.script import script
from offcourse.store.shards import copy_whole

with script(snakemake) as run:
    folder = run.layout.model_folder(run.model)
    prepare(run.registry.model(run.model), run.registry, folder, run.layout.downloads / "packages")
    copy_whole(folder / MANIFEST, run.output[0])
