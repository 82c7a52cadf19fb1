"""The authors' released results, shown like a study's."""
