"""Archives: tar files that are written alike each time, and read as if a stranger had made them to do harm."""

import contextlib
import gzip
import hashlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from offcourse.errors import OffcourseError
from offcourse.files import write_whole, writing
from offcourse.share.manifest import AGAIN, NAME, Manifest, read_manifest

SUFFIXES = (".tar", ".tar.gz", ".tar.zst")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# A manifest has about 200 bytes per file; a study of the paper's size has some 10,000 files.
LARGEST_MANIFEST = 64 * 2**20
# What stands between two members: a header, the rest of a block, and what tarfile reads ahead.
_BETWEEN = 4 * tarfile.RECORDSIZE


def write_archive(out: Path, manifest: Path, members: Mapping[str, Path]) -> None:
    """Write an archive, whole or not at all; the same files give the same bytes.

    manifest: the file that comes first. members: {path in the archive: file}. Raises `OffcourseError` for a name that
    ends otherwise than `SUFFIXES`.
    """
    if not out.name.endswith(SUFFIXES):
        raise OffcourseError(f"{out}: the name of an archive ends with {', '.join(SUFFIXES)}.")
    write_whole(out, lambda path: _write(path, out.name, {NAME: manifest, **dict(sorted(members.items()))}))


def _write(path: Path, name: str, members: Mapping[str, Path]) -> None:
    with contextlib.ExitStack() as stack:
        stream: Any = stack.enter_context(open(path, "wb"))
        if name.endswith(".gz"):
            stream = stack.enter_context(gzip.GzipFile("", "wb", fileobj=stream, mtime=0))
        elif name.endswith(".zst"):
            stream = stack.enter_context(pa.CompressedOutputStream(stream, "zstd"))
        tar = stack.enter_context(tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT))
        for member, source in members.items():
            info = tarfile.TarInfo(member)
            info.size, info.mode = source.stat().st_size, 0o644
            with open(source, "rb") as file:
                tar.addfile(info, file)


def unpack(archive: Path, folder: Path) -> Manifest:
    """Unpack an archive into a new folder, and hold every file against the manifest, which comes first.

    No path of the archive is used before the manifest has it, nothing but plain files is taken, and no more bytes than
    the manifest says. Raises `OffcourseError` naming the archive and the first file that is not as it should be; what
    was unpacked so far is then of no use.
    """
    folder.mkdir()
    with _opened(archive) as stream, _refusals(archive), tarfile.open(fileobj=stream, mode="r|") as tar:
        manifest = _first(archive, tar, stream, folder)
        left = dict(manifest.members)
        needed, free = sum(member.size for member in left.values()), shutil.disk_usage(folder).free
        if needed > free:
            raise OffcourseError(
                f"{archive} holds {needed:,} bytes, and {folder.parent} has room for {free:,}. Nothing was imported; "
                "make room and run the same command again."
            )
        while (info := _next(archive, tar, stream)) is not None:
            if info.name not in left:
                again = "twice" if info.name in manifest.members else "which its manifest does not name"
                raise OffcourseError(f"{archive} holds {info.name!r}, {again}. {AGAIN}")
            member = left.pop(info.name)
            if info.size != member.size:
                raise OffcourseError(
                    f"{archive}: {info.name} has {info.size:,} bytes, and the manifest says {member.size:,}. {AGAIN}"
                )
            digest = _copy(tar, info, stream, folder / info.name)
            if digest != member.sha256:
                raise OffcourseError(f"{archive}: {info.name} does not have the sha256 of the manifest. {AGAIN}")
        if left:
            raise OffcourseError(
                f"{archive} is cut short: it lacks {len(left)} of {len(manifest.members)} files that its manifest "
                f"names, the first is {min(left)}. {AGAIN}"
            )
        stream.allow(0)
        if stream.read(_BETWEEN).strip(b"\0"):
            raise OffcourseError(f"{archive} goes on behind its last file. {AGAIN}")
    return manifest


def _first(archive: Path, tar: tarfile.TarFile, stream: "_Bounded", folder: Path) -> Manifest:
    info = _next(archive, tar, stream)
    if info is None or info.name != NAME:
        raise OffcourseError(
            f"{archive} is no archive of `offcourse share pack`: it does not begin with {NAME}. Nothing was imported."
        )
    if info.size > LARGEST_MANIFEST:
        raise OffcourseError(f"{archive}: its {NAME} has {info.size:,} bytes, more than any. {AGAIN}")
    _copy(tar, info, stream, folder / NAME)
    return read_manifest(folder / NAME, str(archive))


def _next(archive: Path, tar: tarfile.TarFile, stream: "_Bounded") -> tarfile.TarInfo | None:
    """The next member, which is a plain file. A header that is itself longer than headers are is refused unread."""
    stream.allow(0)
    info = tar.next()
    if info is None:
        return None
    # Links and devices, but also what an archive of `share pack` never has: folders, sparse files, long headers.
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.pax_headers or info.sparse is not None:
        raise OffcourseError(f"{archive} holds {info.name!r}, which is no plain file. {AGAIN}")
    return info


def _copy(tar: tarfile.TarFile, info: tarfile.TarInfo, stream: "_Bounded", target: Path) -> str:
    """Write a member to a new file; its sha256."""
    stream.allow(info.size)
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, source = hashlib.sha256(), tar.extractfile(info)
    with writing(str(target)), open(target, "xb") as file:
        while block := source.read(2**20):
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


class _Bounded:
    """A stream that gives no more bytes than were allowed, whatever an archive's headers say."""

    def __init__(self, archive: Path, stream: IO[bytes]):
        self._archive, self._stream, self._given, self._most = archive, stream, 0, _BETWEEN

    def allow(self, size: int) -> None:
        """Allow `size` bytes from here on, and what stands between two members."""
        self._most = self._given + size + _BETWEEN

    def read(self, size: int) -> bytes:
        with _refusals(self._archive):
            block = self._stream.read(size)
        self._given += len(block)
        if self._given > self._most:
            raise OffcourseError(f"{self._archive} holds a header that no archive of `share pack` has. {AGAIN}")
        return block


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[_Bounded]:
    """The stream of an archive without its compression, which the first bytes name."""
    try:
        with open(archive, "rb") as file:
            start = file.read(4)
            file.seek(0)
            if start[:2] == _GZIP:
                with gzip.GzipFile(fileobj=file) as stream:
                    yield _Bounded(archive, stream)
            elif start == _ZSTD:
                with pa.CompressedInputStream(file, "zstd") as stream:
                    yield _Bounded(archive, stream)
            else:
                yield _Bounded(archive, file)
    except OSError as error:
        if Path(error.filename or "") != archive:
            raise
        raise OffcourseError(f"{archive} cannot be read: {error.strerror}. Name an archive file.") from error


@contextlib.contextmanager
def _refusals(archive: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, pa.ArrowException, gzip.BadGzipFile) as error:
        raise OffcourseError(f"{archive} is damaged or cut short ({error}). {AGAIN}") from error
    except OSError as error:
        # pyarrow says with an OSError without a number that what it unpacks is no zstd.
        if error.errno is not None:
            raise
        raise OffcourseError(f"{archive} is damaged or cut short ({error}). {AGAIN}") from error
