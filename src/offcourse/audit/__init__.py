"""What is behind a number, whether it is still true and how it is mended, and how two studies differ."""
