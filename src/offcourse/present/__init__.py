"""Tables, figures and the report of a study. One module per figure, so that editing one redraws that one only."""
