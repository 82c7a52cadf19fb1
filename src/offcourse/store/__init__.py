"""Shards: results of one model and unit, each kept under the digest of everything it was computed from."""
