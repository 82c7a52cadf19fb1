"""`offcourse check-gpu`: does a GPU compute what the study asks, in the memory and time planned?"""
