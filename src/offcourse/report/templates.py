"""How pages of HTML are made from templates."""

from pathlib import Path

import jinja2


def environment_of(*folders: Path) -> jinja2.Environment:
    """What the templates in these folders are rendered with. A name that a template lacks is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
