"""Fetching the authors' released files, as the archive of one commit; each is checked by `release-manifest.tsv`."""

import glob
import lzma
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandera.pandas as pa

from offcourse.data.names import ARCHIVE, RESOURCES
from offcourse.data.registry import Registry
from offcourse.data.release_files import release_path
from offcourse.data.rows import Source
from offcourse.data.tsv import FILLED, SHA256, read_tsv
from offcourse.errors import OffcourseError
from offcourse.files import write_whole, writing

MANIFEST = "release-manifest.tsv"
_SCHEMA = pa.DataFrameSchema(
    {"path": FILLED, "bytes": pa.Column(str, pa.Check.str_matches(r"^\d+$")), "sha256": SHA256},
    strict=True,
    unique=["path"],
)


@dataclass(frozen=True)
class Released:
    """A released file. path: its path in the authors' repository. sha256: of its content."""

    path: str
    bytes: int
    sha256: str


def read_manifest(resources: Path = RESOURCES) -> Mapping[str, Released]:
    """{path: released file} of the files that the project reads. Raises `OffcourseError` for a damaged manifest."""
    path = Path(resources) / MANIFEST
    frame = read_tsv(path)
    try:
        _SCHEMA.validate(frame)
    except pa.errors.SchemaError as error:
        raise OffcourseError(
            f"{path} is not the list of released files (columns path, bytes, sha256, a file a line): "
            f"{str(error).splitlines()[0]}. Restore it from the repository."
        ) from error
    rows = frame.itertuples(index=False)
    return {row.path: Released(row.path, int(row.bytes), row.sha256) for row in rows}


def archive_source(resources: Path = RESOURCES) -> Source:
    """The row of sources.tsv for the archive. The column `file` names the folder inside the archive."""
    return Registry.load(resources).sources[ARCHIVE]


def read_released(spec: str, manifest: Mapping[str, Released], downloads: Path = Path("downloads")) -> bytes:
    """The content of a released file that was fetched before.

    Raises `OffcourseError` when the file is missing, differs from the manifest, or is not in the manifest.
    """
    if spec not in manifest:
        raise OffcourseError(f"{spec} is not in {MANIFEST}; only files with a known sha256 are read")
    path = release_path(spec, downloads)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise OffcourseError(
            f"the released file {path} is missing. Delete {fetched(downloads)} and run again to fetch it."
        ) from error
    got = sha256(content).hexdigest()
    if got != manifest[spec].sha256:
        raise OffcourseError(
            f"{path} has the sha256 {got}, expected {manifest[spec].sha256} ({MANIFEST}): it was changed or damaged. "
            f"Delete it and {fetched(downloads)}, and run again to fetch it anew."
        )
    return content


def fetched(downloads: Path = Path("downloads")) -> Path:
    """Path of a marker file, which exists if the whole release was fetched and checked."""
    return Path(downloads) / "release" / "checked.tsv"


def fetch_release(resources: Path = RESOURCES, downloads: Path = Path("downloads")) -> None:
    """Put every file of the manifest into `downloads`, from the folder OFFCOURSE_MIRROR or else from the network.

    Files that are there and intact are kept. The marker `fetched` is written last. Raises `OffcourseError` when a file
    is not in the archive or differs from the manifest, or when the archive cannot be downloaded.
    """
    manifest = read_manifest(resources)
    wanted = {spec: row for spec, row in manifest.items() if not _is_right(release_path(spec, downloads), row)}
    if wanted:
        source = archive_source(resources)
        local = _local(source, wanted)
        origin = local or source.spec
        for spec, content in _members(local, source, wanted, downloads):
            if (got := sha256(content).hexdigest()) != wanted[spec].sha256:
                raise _altered(origin, wanted[spec], f"has the sha256 {got}, expected {wanted[spec].sha256}")
            del wanted[spec]
            write_whole(release_path(spec, downloads), lambda path, content=content: path.write_bytes(content))
        if wanted:
            raise OffcourseError(
                f"{origin} lacks {len(wanted)} of the {len(manifest)} released files, such as {min(wanted)}"
                f"{_deeper(local, wanted)}. It is not the whole of {source.spec}; replace it, or unset "
                "OFFCOURSE_MIRROR to download it."
            )
    lines = "".join(f"{row.sha256}\t{spec}\n" for spec, row in sorted(manifest.items()))
    write_whole(fetched(downloads), lambda path: path.write_text(lines, encoding="utf-8"))


def _is_right(path: Path, row: Released) -> bool:
    return path.is_file() and path.stat().st_size == row.bytes and sha256(path.read_bytes()).hexdigest() == row.sha256


def _altered(origin: object, row: Released, how: str) -> OffcourseError:
    return OffcourseError(
        f"{origin}: {row.path} {how} ({MANIFEST}). It is not the commit that this project reads, or was damaged; "
        "replace it. It was not kept."
    )


def _local(source: Source, wanted: Mapping[str, Released]) -> Path | None:
    """The folder or archive below OFFCOURSE_MIRROR with the release; None if the release must be downloaded."""
    mirror = os.environ.get("OFFCOURSE_MIRROR")
    if not mirror:
        return None
    if not Path(mirror).is_dir():
        raise OffcourseError(f"OFFCOURSE_MIRROR is {mirror}, which is not a folder; set it to a folder, or unset it")
    if (folder := Path(mirror) / source.file).is_dir():
        return folder
    commit = source.file.removeprefix(f"{ARCHIVE}-")
    if (packed := Path(mirror) / f"{ARCHIVE}-{commit[:7]}.tar.xz").is_file():
        return packed
    if any((Path(mirror) / spec).is_file() for spec in wanted):
        raise OffcourseError(
            f"OFFCOURSE_MIRROR is {mirror}, which holds the released files themselves. Set it to a folder that holds "
            f"them in a folder {source.file}, or unset it."
        )
    return None


def _members(
    local: Path | None, source: Source, wanted: Mapping[str, Released], downloads: Path
) -> Iterator[tuple[str, bytes]]:
    """(path, content) of those files of the release that the folder or archive holds."""
    if local and local.is_dir():
        for spec, row in list(wanted.items()):
            if (path := local / spec).is_file():
                _require_size(local, row, path.stat().st_size)
                yield spec, path.read_bytes()
    elif local:
        yield from _unpacked(local, local, source.file, wanted)
    else:
        with writing(str(downloads)):
            Path(downloads).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=downloads) as folder:
                yield from _unpacked(source.spec, _download(source.spec, Path(folder)), source.file, wanted)


def _deeper(local: Path | None, wanted: Mapping[str, Released]) -> str:
    """A suffix for messages when the files are one folder too deep in the mirror, else ""."""
    found = sorted(local.glob(f"*/{glob.escape(min(wanted))}")) if local else []
    return (
        f", which is in {found[0].relative_to(local).parts[0]} there: move its content one folder up" if found else ""
    )


def _require_size(origin: object, row: Released, size: int) -> None:
    """Refuse a file of another size before reading it: a few packed bytes can unpack to more than fits in memory."""
    if size != row.bytes:
        raise _altered(origin, row, f"has {size} bytes, expected {row.bytes}")


def _unpacked(
    origin: object, archive: Path, folder: str, wanted: Mapping[str, Released]
) -> Iterator[tuple[str, bytes]]:
    # If a name occurs twice, the first file is taken.
    wanted = dict(wanted)
    try:
        with tarfile.open(archive) as members:
            for member in members:
                spec = member.name.removeprefix(f"{folder}/")
                if spec in wanted and member.isfile():
                    _require_size(origin, wanted.pop(spec), member.size)
                    yield spec, members.extractfile(member).read()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError) as error:
        raise OffcourseError(f"{archive} is damaged ({error}); replace it, or unset OFFCOURSE_MIRROR") from error


def _download(url: str, folder: Path) -> Path:
    """Download the archive into `folder` and return its path.

    The archive has no fixed sha256, since its host packs it anew now and then. Callers check the files inside.
    """
    # Imported here: most runs and all audits download nothing.
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    try:
        downloader = pooch.HTTPDownloader(timeout=60)
        return Path(pooch.retrieve(url, None, fname=Path(url).name, path=folder, downloader=downloader))
    except requests.RequestException as error:
        raise OffcourseError(
            f"cannot download {url} ({type(error).__name__}). Check the network, or set OFFCOURSE_MIRROR to a folder "
            "with a copy of the authors' repository."
        ) from error
