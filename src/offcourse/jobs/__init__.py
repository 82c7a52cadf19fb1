"""Running steps: what each depends on, computing what is missing, and saying what is stale."""
