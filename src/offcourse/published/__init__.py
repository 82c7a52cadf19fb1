"""Converting the authors' released results, and making the tables, figures, report and audit of a study from them."""
