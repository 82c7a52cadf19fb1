"""Shards: per-task results kept under the digest of everything they were computed from."""
