"""Records of how results were made, and the RO-Crate that is written from them."""
