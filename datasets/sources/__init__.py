"""Built-in data sets, one module or folder a family."""
