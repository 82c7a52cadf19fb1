"""What a study fetches before it reads words and questions: files of the authors' repository, and sets of the hub."""

from collections.abc import Iterable
from pathlib import Path

from offcourse.data.dataset import HubSet, hub_file, is_kept
from offcourse.data.release_files import refetch, release_path, release_source
from offcourse.data.rows import HUB
from offcourse.files import known_sha256


def fetched_path(spec: str, downloads: Path = Path("downloads")) -> Path:
    """Where a file of the authors' repository (its path there) or a set of the hub (hub:...) is kept."""
    if spec.startswith(HUB):
        return HubSet.of(spec.removeprefix(HUB)).path(downloads)
    return release_path(spec, downloads)


def fetch(spec: str, downloads: Path) -> Path:
    """Fetch a file or set unless it is there as it was pinned. Raises `OffcourseError` if it cannot be had."""
    if not spec.startswith(HUB):
        return refetch(spec, downloads)
    if not is_fetched(spec, downloads):
        fetched_path(spec, downloads).unlink(missing_ok=True)
    return hub_file(spec.removeprefix(HUB), downloads)


def is_fetched(spec: str, downloads: Path) -> bool:
    """Whether a file has the sha256 of sources.tsv, or a set of the hub the sha256 that it had after its download."""
    path = fetched_path(spec, downloads)
    if spec.startswith(HUB):
        return is_kept(path)
    return path.exists() and known_sha256(path) == release_source(spec).sha256


def pinned_files(specs: Iterable[str]) -> str:
    """What is fetched, a line each, after its sha256 in sources.tsv or the commit of the hub."""
    pins = {
        spec: HubSet.of(spec.removeprefix(HUB)).commit if spec.startswith(HUB) else release_source(spec).sha256
        for spec in specs
    }
    return "".join(f"{pin}\t{spec}\n" for spec, pin in pins.items())
