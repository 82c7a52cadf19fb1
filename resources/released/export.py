"""Pack the authors' converted results into this folder, after `make published ORIGINAL=1`."""

from pathlib import Path

from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout
from offcourse.published.packed import pack

if __name__ == "__main__":
    for path in pack(Layout(NAME), Path(__file__).resolve().parent):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
