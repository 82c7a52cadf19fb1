"""`offcourse check-gpu`: does this machine's GPU compute what the paper's study asks, in the memory and time planned?"""
