"""A job at work: what it is handed, its script, its log and its lock."""
