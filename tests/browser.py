"""A page in headless Chromium: what its console says, and what a script finds in it."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from pypdf import PdfReader

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH to open the report with")


def visit(page: Path, script: str, width: int, folder: Path) -> tuple[object, list[str]]:
    """The value of `script` (a JavaScript expression, run once the page has loaded), and the console's errors.

    The page is opened as a copy with the script in it, in a frame of `width` pixels: Chromium's own windows are never
    narrower than 500.
    """
    visited = folder / "visited.html"
    found = (
        "<script>addEventListener('load', () => { let found; try { found = (" + script + "); } "
        "catch (error) { found = String(error); } parent.postMessage(JSON.stringify(found), '*'); });</script></body>"
    )
    visited.write_text(page.read_text(encoding="utf-8").replace("</body>", found), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(
        "<!DOCTYPE html><body><pre id=found></pre><script>addEventListener('message', "
        "event => { document.getElementById('found').textContent = event.data; });</script>"
        f"<iframe src=visited.html style='width:{width}px;height:900px;border:0'></iframe>",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            "--enable-logging=stderr",
            "--virtual-time-budget=10000",
            f"--window-size={max(width + 50, 500)},1000",
            "--dump-dom",
            frame.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert said and said[1], f"the page answered nothing: {done.stderr}"
    errors = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(unescape(said[1])), errors


def printed(page: Path, folder: Path) -> PdfReader:
    """The page as it is printed."""
    out = folder / "printed.pdf"
    where = [f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={out}", page.as_uri()]
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", *where]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    return PdfReader(out)
