"""The authors' released files: the archive of one commit, each file checked against `release-manifest.tsv`."""

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
import pooch
import requests

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
    """A released file. path: inside the authors' repository. sha256: of its content."""

    path: str
    bytes: int
    sha256: str


def read_manifest(resources: Path = RESOURCES) -> Mapping[str, Released]:
    """The released files that the project reads, by path. Raises `OffcourseError` for a table that is none."""
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
    """The row of sources.tsv for the archive. Its `file` is the folder that all of its files are in."""
    return Registry.load(resources).sources[ARCHIVE]


def read_released(spec: str, manifest: Mapping[str, Released], downloads: Path = Path("downloads")) -> bytes:
    """The content of a released file that was fetched.

    Raises `OffcourseError` when the file is missing, is not what the manifest says, or is not in the manifest.
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
    """The file that says that the whole release was fetched and checked."""
    return Path(downloads) / "release" / "checked.tsv"


def fetch_release(resources: Path = RESOURCES, downloads: Path = Path("downloads")) -> None:
    """Have every file of the manifest in `downloads`: from the folder OFFCOURSE_MIRROR, else from the network.

    Files that are there and right are left alone. Raises `OffcourseError` when a file is not in the archive, is not
    what the manifest says, or the archive cannot be had; `fetched` is written last, so it is there only if all is well.
    """
    manifest = read_manifest(resources)
    wanted = {spec: row for spec, row in manifest.items() if not _is_right(release_path(spec, downloads), row)}
    if wanted:
        source = archive_source(resources)
        for origin, spec, content in _members(source, wanted, downloads):
            got = sha256(content).hexdigest()
            if got != wanted[spec].sha256:
                raise OffcourseError(
                    f"{origin}: {spec} has the sha256 {got}, expected {wanted[spec].sha256} ({MANIFEST}). It is not "
                    "the commit that this project reads, or was damaged; replace it. It was not kept."
                )
            del wanted[spec]
            write_whole(release_path(spec, downloads), lambda path, content=content: path.write_bytes(content))
        if wanted:
            raise OffcourseError(
                f"{origin} lacks {len(wanted)} of the {len(manifest)} released files, such as {min(wanted)}. It is not "
                f"the whole of {source.spec}; replace it, or unset OFFCOURSE_MIRROR to download it."
            )
    lines = "".join(f"{row.sha256}\t{spec}\n" for spec, row in sorted(manifest.items()))
    write_whole(fetched(downloads), lambda path: path.write_text(lines, encoding="utf-8"))


def _is_right(path: Path, row: Released) -> bool:
    return path.is_file() and path.stat().st_size == row.bytes and sha256(path.read_bytes()).hexdigest() == row.sha256


def _members(source: Source, wanted: Mapping[str, Released], downloads: Path) -> Iterator[tuple[object, str, bytes]]:
    """(origin, path, content) of the files of the release that can be had."""
    mirror = os.environ.get("OFFCOURSE_MIRROR")
    if mirror and not Path(mirror).is_dir():
        raise OffcourseError(f"OFFCOURSE_MIRROR is {mirror}, which is not a folder; set it to a folder, or unset it")
    if mirror and (folder := Path(mirror) / source.file).is_dir():
        for spec in list(wanted):
            if (folder / spec).is_file():
                yield folder, spec, (folder / spec).read_bytes()
        return
    commit = source.file.removeprefix(f"{ARCHIVE}-")
    packed = Path(mirror) / f"{ARCHIVE}-{commit[:7]}.tar.xz" if mirror else None
    if packed and packed.is_file():
        yield from _unpacked(packed, source.file, wanted)
        return
    with writing(str(downloads)):
        Path(downloads).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=downloads) as folder:
            for _, spec, content in _unpacked(_download(source.spec, Path(folder)), source.file, wanted):
                yield source.spec, spec, content


def _unpacked(archive: Path, folder: str, wanted: Mapping[str, Released]) -> Iterator[tuple[Path, str, bytes]]:
    wanted = set(wanted)
    try:
        with tarfile.open(archive) as members:
            for member in members:
                spec = member.name.removeprefix(f"{folder}/")
                if spec in wanted and member.isfile():
                    yield archive, spec, members.extractfile(member).read()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError) as error:
        raise OffcourseError(f"{archive} is damaged ({error}); replace it, or unset OFFCOURSE_MIRROR") from error


def _download(url: str, folder: Path) -> Path:
    """Download the archive into `folder`, and return its path.

    The archive has no known sha256, since its host packs it anew now and then. Callers check the files inside.
    """
    pooch.get_logger().setLevel("WARNING")
    try:
        downloader = pooch.HTTPDownloader(timeout=60)
        return Path(pooch.retrieve(url, None, fname=Path(url).name, path=folder, downloader=downloader))
    except requests.RequestException as error:
        raise OffcourseError(
            f"cannot download {url} ({type(error).__name__}). Check the network, or set OFFCOURSE_MIRROR to a folder "
            "with a copy of the authors' repository."
        ) from error
