"""Figures: each module draws one figure from results and writes the drawn numbers beside the picture."""
