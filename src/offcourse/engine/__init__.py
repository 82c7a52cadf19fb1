"""The engine: runs many edits of a prompt in one pass (docs/engine.md).

A row is one edited version of a prompt's last token. All rows of a prompt share the prompt's keys and values.
"""

from offcourse.engine.forest import Forest
from offcourse.engine.rows import HeadRows, ResidualRows
from offcourse.engine.run import Context, Engine, States

__all__ = ["Context", "Engine", "Forest", "HeadRows", "ResidualRows", "States"]
