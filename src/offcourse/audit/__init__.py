"""Checks of finished studies: the chain behind a number, what is stale, and how two studies differ."""
