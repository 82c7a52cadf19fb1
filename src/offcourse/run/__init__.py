"""Running a job: the context that its code is given, its script, its log, its lock, and repair of damaged results."""
