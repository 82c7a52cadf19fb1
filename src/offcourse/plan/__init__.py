"""What a study will take: time, memory, disk and jobs."""
