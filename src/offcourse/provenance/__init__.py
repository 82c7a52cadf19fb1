"""Records of how results were made, and what can be asked of them."""
