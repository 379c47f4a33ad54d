"""Models: built-in ones, registration, initial weights."""
