"""The paper's methods: one module per step. A step is a function of a context and a unit that returns a result.

The context (`run.context.StepContext`) gives the model, settings and earlier results. The unit is a task or a question
set.
"""
