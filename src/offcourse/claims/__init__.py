"""The paper's claims: the rule that decides each claim, and the protocol switches that would change its verdict."""
