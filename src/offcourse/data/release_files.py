"""Files of the authors' repository: from the folder OFFCOURSE_MIRROR or the network, each checked before use."""

import hashlib
import lzma
import os
import tarfile
from functools import lru_cache
from pathlib import Path

from offcourse.data.names import ARCHIVE, RESOURCES
from offcourse.data.registry import Registry
from offcourse.data.rows import Source
from offcourse.errors import OffcourseError
from offcourse.files import follow_umask, sha256, write_whole

RAW_URL = "https://raw.githubusercontent.com/patqdasilva/steering-off-course"


@lru_cache
def _sources(resources: Path) -> dict[str, Source]:
    return {source.spec: source for source in Registry.load(resources).sources.values()}


def release_source(spec: str, resources: Path = RESOURCES) -> Source:
    """The row of sources.tsv for a file of the authors' repository; `spec` is its path there."""
    return _sources(Path(resources))[spec]


def release_path(spec: str, downloads: Path = Path("downloads")) -> Path:
    """Where a file of the authors' repository is kept after its download."""
    return Path(downloads) / "release" / spec


def release_file(spec: str, resources: Path = RESOURCES, downloads: Path = Path("downloads")) -> Path:
    """Path of a file of the authors' repository; the file is fetched if needed and its sha256 verified.

    Raises `OffcourseError` when the file cannot be fetched or does not have the sha256 in sources.tsv.
    """
    source = release_source(spec, resources)
    sources = _sources(Path(resources))
    commit = next(row.file.removeprefix(f"{ARCHIVE}-") for row in sources.values() if row.name == ARCHIVE)
    path = release_path(spec, downloads)
    if not path.exists():
        files = [row for row in sources.values() if row.kind == "release"]
        if not _from_mirror(source, files, commit, path):
            _from_network(source, f"{RAW_URL}/{commit}/{source.spec}", path)
    if sha256(path) != source.sha256:
        raise OffcourseError(
            f"{path} has the sha256 {sha256(path)}, expected {source.sha256}: it was changed or damaged. Delete it and "
            "run again to fetch it anew."
        )
    return path


def refetch(spec: str, downloads: Path) -> Path:
    """`release_file`, which takes a file that is there and is not what sources.tsv says for a missing one."""
    path = release_path(spec, downloads)
    if path.exists() and sha256(path) != release_source(spec).sha256:
        path.unlink()
    return release_file(spec, downloads=downloads)


def _from_mirror(source: Source, lists: list[Source], commit: str, path: Path) -> bool:
    """Copy a file from OFFCOURSE_MIRROR (the extracted repository or its archive); False when the mirror lacks it.

    The archive can only be read from its beginning, so one pass extracts every file of `lists`.
    """
    if not os.environ.get("OFFCOURSE_MIRROR"):
        return False
    mirror = Path(os.environ["OFFCOURSE_MIRROR"])
    if not mirror.is_dir():
        raise OffcourseError(f"OFFCOURSE_MIRROR is {mirror}, which is not a folder; set it to a folder, or unset it")
    folder, archive = f"{ARCHIVE}-{commit}", mirror / f"{ARCHIVE}-{commit[:7]}.tar.xz"
    if (kept := mirror / folder / source.spec).is_file():
        _require_bounded(kept.stat().st_size, source, kept)
        _keep(kept.read_bytes(), source, path, kept)
        return True
    if not archive.is_file():
        return False
    wanted = {f"{folder}/{row.spec}": row for row in lists}
    downloads = path.parents[len(Path(source.spec).parts) - 1]
    try:
        with tarfile.open(archive) as members:
            for member in members:
                if member.name in wanted and member.isfile():
                    row, origin = wanted.pop(member.name), f"{archive}: {member.name}"
                    _require_bounded(member.size, row, origin)
                    _keep(members.extractfile(member).read(), row, downloads / row.spec, origin)
                if not wanted:
                    break
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise OffcourseError(f"{archive} is damaged ({error}); replace it, or unset OFFCOURSE_MIRROR") from error
    return path.exists()


def _require_bounded(size: int, source: Source, origin: object) -> None:
    """Refuse a file of another size before reading it: a few packed bytes can unpack to more than fits in memory."""
    if source.bytes and size > source.bytes:
        raise OffcourseError(
            f"{origin} has {size} bytes, expected {source.bytes} (sources.tsv, {source.name}). Replace it, or unset "
            "OFFCOURSE_MIRROR to download the file. Nothing was written."
        )


def _keep(content: bytes, source: Source, path: Path, origin: object) -> None:
    """Write a mirrored file to `path` if it has the sha256 in sources.tsv, else raise `OffcourseError`."""
    got = hashlib.sha256(content).hexdigest()
    if got != source.sha256:
        raise OffcourseError(
            f"{origin} has the sha256 {got}, expected {source.sha256} (sources.tsv, {source.name}). Replace it, or "
            "unset OFFCOURSE_MIRROR to download the file. Nothing was written."
        )
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def _from_network(source: Source, url: str, path: Path) -> None:
    """Download a file; pooch writes to a temporary file and moves it only if the sha256 is right."""
    # Imported here: most runs and all audits download nothing.
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        downloader = pooch.HTTPDownloader(timeout=30)
        pooch.retrieve(url, f"sha256:{source.sha256}", fname=path.name, path=path.parent, downloader=downloader)
        follow_umask(path)
    except requests.RequestException as error:
        raise OffcourseError(
            f"cannot download {url} ({type(error).__name__}). Check the network, or set OFFCOURSE_MIRROR to a folder "
            "with a copy of the authors' repository, or use data: embedded and no question set of the authors'."
        ) from error
    except ValueError as error:
        raise OffcourseError(
            f"{url} does not have the sha256 {source.sha256} that sources.tsv expects, so it was not kept. Something "
            "between here and there changes files; try again on another network, or set OFFCOURSE_MIRROR."
        ) from error
    except OSError as error:
        raise OffcourseError(f"cannot write {path}: {error.strerror or error}. Make room or permit writing.") from error
