"""The hub's address HF_ENDPOINT, and texts of the hub's clients without the password that the address may hold."""

import logging
import os
import re
from urllib.parse import unquote, urlsplit

from offcourse.errors import OffcourseError

# Name and password of an address, as in https://name:password@host: up to the last @ before the path.
_OWNER = re.compile(r"(?<=://)[^\s/?#]*@")


def require_endpoint() -> None:
    """Raise `OffcourseError` for an HF_ENDPOINT that the client cannot take apart; the message does not quote it."""
    try:
        parts = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        known = False
    if not known:
        raise OffcourseError(
            "HF_ENDPOINT is no address such as https://hub.example.org. In a name or password, write : / ? # @ [ ] as "
            "%3A %2F %3F %23 %40 %5B %5D; or unset HF_ENDPOINT."
        ) from None


def clean_log() -> None:
    """Keep names and passwords of addresses out of what the clients log. Called after the clients' import.

    A client logs each failed attempt with its address, before the error that `without_password` is for.
    """
    for client in ("huggingface_hub", "datasets"):
        for handler in logging.getLogger(client).handlers:
            handler.addFilter(_cleaned)


def _cleaned(record: logging.LogRecord) -> bool:
    record.msg, record.args = without_password(record.getMessage()), ()
    return True


def without_password(text: str) -> str:
    """A text of a client of the hub without names and passwords in addresses, nor that of HF_ENDPOINT anywhere else."""
    text = _OWNER.sub("", text)
    password = urlsplit(os.environ.get("HF_ENDPOINT", "")).password or ""
    for written in filter(None, (password, unquote(password))):
        text = text.replace(written, "***")
    return text
