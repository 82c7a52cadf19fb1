"""Accuracies, recoveries, best settings and p-values, computed from tables of hits without a model or a drawing.

A hit is an evaluated item that the model answers correctly.
"""
