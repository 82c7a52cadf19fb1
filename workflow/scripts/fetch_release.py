"""Rule `fetch_release`: every released file of the manifest, each checked against its sha256."""

from pathlib import Path

from offcourse.archive.manifest import fetch_release
from offcourse.run.log import logged

with logged(snakemake.log[0]):
    fetch_release(downloads=Path(snakemake.output[0]).parents[1])
