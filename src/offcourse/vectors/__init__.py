"""Files of steering vectors: what such a file says, and how three formats say it."""
