"""The authors' released results, read into the project's own artefacts and compared with its own results."""
