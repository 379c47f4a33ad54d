"""Data sets and label noise: importing this package registers the built-in sources."""
