"""The paper's claims: how each is decided, and what would decide it otherwise."""
