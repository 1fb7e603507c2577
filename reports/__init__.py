"""What a file, a machine or a scheme is, in words and as data."""
