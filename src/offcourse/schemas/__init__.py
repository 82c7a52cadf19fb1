"""Schemas of every table that the workflow writes."""
