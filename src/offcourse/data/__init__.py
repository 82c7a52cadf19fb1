"""Tables and lists: models, tasks, question sets and downloads; words, questions and prompts made from them."""
