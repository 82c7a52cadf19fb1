"""The plan of a study: the time, memory, disk and jobs that the study will take."""
