"""Tables: computed from results, written as parquet, csv, md and tex."""
