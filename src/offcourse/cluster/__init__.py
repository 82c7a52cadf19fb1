"""Clusters: the resources that jobs ask for, and checks with Slurm before jobs are submitted."""
