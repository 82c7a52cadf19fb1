"""The torture test: spoiled inputs, tampered files, forged records and killed runs; `python -m torture`."""
