"""Write `config.schema.json`, the JSON schema of a study, from the model that checks studies (`make schema`).

Editors that know the language server for YAML complete and check a file that names the schema in its first lines, and
show what `config.yaml` says of a key.
"""

import json
import re
from pathlib import Path
from typing import Any

from offcourse.study.config import Study
from offcourse.study.schema import exported

CHECKOUT = Path(__file__).resolve().parents[2]
TARGET = Path(__file__).with_name("config.schema.json")

# A key, or a key that a comment shows with a value.
_KEY = re.compile(r"(?P<indent> *)(?:# )?(?P<key>\w+):(?: |$)(?P<value>.*)")


def schema(manual: str) -> dict[str, Any]:
    """The JSON schema of a study; manual: the text of `config.yaml`, whose comments describe the keys."""
    found = exported(Study)
    found["title"], found["description"] = "Offcourse study", "Every key is explained in config.yaml."
    section, comment = found, []
    for line in manual.splitlines():
        key = _KEY.fullmatch(line)
        top = bool(key) and not key["indent"]
        keys = found["properties"] if top else section.get("properties", {})
        shown = bool(key) and (not line.lstrip().startswith("#") or key["value"][:1] in ("[", "{"))
        if shown and key["key"] in keys:
            node = keys[key["key"]]
            if top:
                section = found["$defs"].get(node.get("$ref", "").rpartition("/")[2], {})
            if comment:
                # Beside a reference as well: this draft of JSON schema allows it.
                node["description"] = "\n".join(comment)
            comment = []
        elif line.lstrip().startswith("#") and "yaml-language-server" not in line:
            comment.append(line.lstrip("# "))
        else:
            comment = []
    return found


def text() -> str:
    """The file's content."""
    manual = (CHECKOUT / "config.yaml").read_text(encoding="utf-8")
    return json.dumps(schema(manual), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
