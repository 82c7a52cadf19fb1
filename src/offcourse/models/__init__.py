"""Models: where they come from, how they are loaded, and whether they do what the table of classes says."""
