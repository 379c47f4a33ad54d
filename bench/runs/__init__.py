"""One run, from names to its record."""
