"""How cells are spread over processes and devices."""
