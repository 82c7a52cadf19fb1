"""The engine: every edit of a last token is one row; rows share the prompt's keys and values (docs/engine.md)."""

from offcourse.engine.forest import Forest
from offcourse.engine.rows import HeadRows, ResidualRows
from offcourse.engine.run import Context, Engine, States

__all__ = ["Context", "Engine", "Forest", "HeadRows", "ResidualRows", "States"]
