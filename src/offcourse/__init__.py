"""Offcourse: a reproduction of *Steering off Course* that can be rerun, checked and extended."""

__version__ = "0.1.0"
