"""What is behind a number, whether it is still true, and how two studies differ."""
