"""The authors' released files: their archive, and a reader for each kind of file."""
