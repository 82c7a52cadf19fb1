"""The authors' files: the archive they are in, and readers of each kind."""
