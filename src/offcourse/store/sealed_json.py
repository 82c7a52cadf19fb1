"""JSON files that end with a digest of themselves, so that a changed byte is found."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offcourse.errors import OffcourseError
from offcourse.files import write_whole


def digest(value: Any) -> str:
    """sha256 of a plain JSON value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` and its digest, whole or not at all."""
    text = _text({**value, "digest": digest(value)})
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_sealed(path: Path) -> dict[str, Any]:
    """The value that was written, without its digest.

    Raises `OffcourseError` when the file cannot be read, or when any byte changed since the file was written.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        sealed = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise OffcourseError(f"{path} cannot be read as JSON ({error}).") from error
    value = {key: entry for key, entry in sealed.items() if key != "digest"} if isinstance(sealed, dict) else {}
    if not value or sealed.get("digest") != digest(value) or text != _text(sealed):
        raise OffcourseError(f"{path} was changed after it was written: its content does not match its own digest.")
    return value


def _text(sealed: Mapping[str, Any]) -> str:
    return json.dumps(sealed, indent=2, ensure_ascii=False) + "\n"
