"""`offcourse check-gpu`: checks that a GPU computes a study's passes exactly, in the planned memory and time."""
