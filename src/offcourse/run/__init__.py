"""A job at work: what it is handed, its script, its log, its lock, and the repair of damaged results."""
