"""Why a change redoes more than it moves: a regular expression of changes ("where: what"), and the reason."""

REASONS: dict[str, str] = {}
