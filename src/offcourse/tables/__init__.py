"""Tables: each module computes one table from results and writes it as parquet, csv and md, the paper's also as tex."""
