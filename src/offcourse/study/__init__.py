"""What a study is: which models, tasks, methods and grids (`config`), and by which exact procedure (`protocol`)."""
