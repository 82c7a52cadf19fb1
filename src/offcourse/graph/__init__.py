"""Declarations of everything that the workflow makes: steps (computing) and products (tables, figures, report, ...).

A declaration names the code, inputs and settings of a step or product. Rules, keys, records, `offcourse status` and
audits are all derived from the declarations.
"""
