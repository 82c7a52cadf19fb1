"""A verdict on a steering method or a vector file: the small study behind it, its run, and the card that shows it."""
