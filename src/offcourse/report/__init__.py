"""The report of a study or of the authors' release: one HTML page."""
