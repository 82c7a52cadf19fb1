"""What jobs ask of a cluster, and what Slurm is asked before they are sent."""
