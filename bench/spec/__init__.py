"""What is run, as frozen values."""
