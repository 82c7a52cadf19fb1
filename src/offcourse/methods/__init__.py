"""Steering methods: one module per step, each a function of a job and a task that returns the artefact's content."""
