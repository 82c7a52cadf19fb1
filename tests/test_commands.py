"""Commands that the pages show: `snakemake` starts as written there."""

import re

import pytest
from lab import CHECKOUT

PAGES = ["README.md", "config.yaml", *(f"docs/{path.name}" for path in sorted((CHECKOUT / "docs").glob("*.md")))]
# Where Snakemake needs no number of cores: what it only shows, and a profile that submits jobs.
FREE = {"-n", "--dry-run", "--report", "--lint", "--unlock", "--touch", "--delete-all-output", "--profile", "--version"}


@pytest.mark.parametrize("page", PAGES)
def test_a_command_names_its_cores(page):
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    # A line of a block or of a comment that begins with the command, or a command between backticks.
    lines = re.findall(r"^(?:#? *)(snakemake -.*)$", text, re.M) + re.findall(r"`(snakemake -[^`]*)`", text)
    for line in lines:
        words = set(line.partition("#")[0].split())
        assert words & FREE or "--cores" in words, f"{page}: {line!r} stops and asks for --cores"
