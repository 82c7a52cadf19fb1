"""A model of the user's own: its files, and the row of models.tsv that they fill."""
