"""Copies of the authors' pages with a changed drawing."""

import io
from collections.abc import Callable

from pypdf import PdfReader, PdfWriter
from pypdf.generic import DecodedStreamObject, NameObject


def edited(pdf: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The same page with its drawing changed."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf)))
    stream = DecodedStreamObject()
    stream.set_data(change(writer.pages[0].get_contents().get_data()))
    writer.pages[0][NameObject("/Contents")] = stream
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()
