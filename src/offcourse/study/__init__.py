"""The configuration of a study (models, tasks, methods and grids: `config`) and its exact procedure (`protocol`)."""
