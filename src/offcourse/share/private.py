"""The search for private names in files that go to others: machines, accounts, folders, addresses, tokens."""

import base64
import html
import io
import json
import os
import platform
import pwd
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from offcourse.errors import OffcourseError
from offcourse.provenance.environment import CHECKOUT
from offcourse.provenance.sharing import SALT

# Names that machines and accounts everywhere have, so that they name nobody.
EVERYWHERE = frozenset({"root", "user", "admin", "runner", "localhost", "ubuntu", "debian", "docker", "jovyan"})
SHORTEST = 2
_SECRET = re.compile(r"TOKEN(?!IZER)|PASSW|SECRET|API_?KEY|CREDENTIAL", re.IGNORECASE)
SHORTEST_SECRET = 8
# From its @ on. What goes before it is looked for backwards: a search forwards would try every letter of a picture.
_ADDRESS = re.compile(rb"@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,24}\b")
_ACCOUNT = re.compile(rb"[A-Za-z0-9_.+-]{1,64}$")
# Folders in which users' files lie, and drives of Windows. A path that a word or an address goes before is none.
_FOLDERS = (
    "home|Users|root|mnt|scratch|work|data|gpfs|lustre|nfs|srv|tmp|var|private|Volumes|media|export|projects?|cluster"
)
_PATH = re.compile(
    rf"(?<![A-Za-z0-9_.:/~@%#&+-])/(?:{_FOLDERS})/[\w.+-]+|(?<![A-Za-z0-9])[A-Za-z]:\\+Users\\+\w+".encode()
)
_EMBEDDED = re.compile(rb"data:[\w/+.;=-]*?base64,([A-Za-z0-9+/=]{8,})")


def private_names(base: Path, hosts: Iterable[str] = ()) -> dict[str, str]:
    """{text that no archive may have: what it is} of this machine, this account and the folder of a study.

    hosts: names of other machines that records name.
    """
    found: dict[str, str] = {}
    for host in (platform.node(), *hosts):
        found |= {host: "the name of a machine", host.partition(".")[0]: "the name of a machine"}
    found |= {os.environ.get(name, ""): "the name of an account" for name in ("USER", "LOGNAME", "USERNAME")}
    # A container may run as an account that the system does not know.
    with suppress(KeyError):
        account = pwd.getpwuid(os.getuid())
        full = account.pw_gecos.partition(",")[0]
        found |= {account.pw_name: "the name of an account"}
        found |= {full: "the name of a person"} if " " in full else {}
    folders = (Path.home(), base.resolve(), base.absolute(), CHECKOUT)
    found |= {str(folder): "a folder of this machine" for folder in folders if len(folder.parts) > 1}
    salt = base / SALT
    if salt.exists():
        found[salt.read_text(encoding="ascii", errors="replace").strip()] = "the salt of the machines' digests"
    secrets = {name: value for name, value in os.environ.items() if _SECRET.search(name)}
    secrets = {name: value for name, value in secrets.items() if len(value) >= SHORTEST_SECRET}
    found |= {value: f"the value of {name}" for name, value in secrets.items()}
    return {text: what for text, what in found.items() if len(text) >= SHORTEST and text not in EVERYWHERE}


class Search:
    """Looks for private names in the bytes of files. allowed: texts that may go out although they look private."""

    def __init__(self, names: Mapping[str, str], allowed: Iterable[str] = ()):
        self.allowed = {text.encode() for text in allowed}
        self._names = {form: what for text, what in names.items() for form in _forms(text)}
        words = sorted(self._names, key=len, reverse=True)
        texts = b"|".join(map(re.escape, words)) or rb"(?!)"
        self._pattern = re.compile(rb"(?<![A-Za-z0-9])(?:" + texts + rb")(?![A-Za-z0-9])")

    def refuse(self, name: str, path: Path) -> None:
        """Raise `OffcourseError` naming the first private name in a file, or in the path that the archive gives it."""
        for text in _texts(name, path):
            for found, what in self._in(text):
                if what.startswith(("the value", "the salt")):
                    raise OffcourseError(f"{name} holds {what}. Nothing was written. Remove it where it comes from.")
                said = shlex.quote(found.decode(errors="replace"))
                raise OffcourseError(
                    f"{name} holds {said}, {what}. Nothing was written. Remove it where it comes from, or, if it is "
                    f"a word of the study's own data, run again with --allow {said}."
                )

    def _in(self, text: bytes) -> Iterator[tuple[bytes, str]]:
        found = [(hit[0], self._names[hit[0]]) for hit in self._pattern.finditer(text)]
        for hit in _ADDRESS.finditer(text):
            if account := _ACCOUNT.search(text[max(0, hit.start() - 64) : hit.start()]):
                found.append((account[0] + hit[0], "an e-mail address"))
        found += [(hit[0], "a path of a machine") for hit in _PATH.finditer(text)]
        return ((hit, what) for hit, what in found if hit not in self.allowed)


def _forms(text: str) -> set[bytes]:
    """The text as plain text, JSON, HTML and addresses write it."""
    forms = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], html.escape(text), quote(text)}
    return {form.encode("utf-8", "surrogateescape") for form in forms}


def _texts(name: str, path: Path) -> Iterator[bytes]:
    """Everything that a file says: its bytes, what is packed inside them, and the name that the archive gives it."""
    yield name.encode()
    if path.suffix == ".parquet":
        yield from _of_parquet(path)
    elif path.suffix == ".safetensors":
        # A header of JSON, then numbers, in which any few letters occur by chance.
        with open(path, "rb") as file:
            yield file.read(int.from_bytes(file.read(8), "little"))
    elif path.suffix == ".png":
        yield _of_picture(path.read_bytes())
    else:
        content = path.read_bytes()
        yield _EMBEDDED.sub(b"", content)
        for embedded in _EMBEDDED.finditer(content):
            inner = base64.b64decode(embedded[1] + b"=" * (-len(embedded[1]) % 4))
            yield _of_picture(inner) if inner.startswith(b"\x89PNG") else inner


def _of_picture(content: bytes) -> bytes:
    """The notes of a picture, without its points."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        return json.dumps(picture.info, default=str, ensure_ascii=False).encode()


def _of_parquet(path: Path) -> Iterator[bytes]:
    """The notes of a table, and the different texts of its columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    yield b"\n".join(part for pair in (table.schema.metadata or {}).items() for part in pair)
    yield "\n".join(table.column_names).encode()
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            yield "\n".join(text for text in column.unique().to_pylist() if text is not None).encode()
        elif pa.types.is_list(column.type) and pa.types.is_integer(column.type.value_type):
            continue  # token ids
        elif pa.types.is_nested(column.type) or pa.types.is_dictionary(column.type):
            yield json.dumps(column.to_pylist(), default=str, ensure_ascii=False).encode()
