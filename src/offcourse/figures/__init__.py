"""Figures: drawn from results, with the numbers they draw."""
