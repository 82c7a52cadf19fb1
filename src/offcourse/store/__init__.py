"""The store of shards. A shard is a step's result for one model and unit, filed under a digest of its ingredients.

A unit is a task or a question set. The digest (the key) covers everything the result was computed from: code, settings,
inputs and weights.
"""
