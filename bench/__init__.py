"""What runs: specs, trainer, evidence, store, executors, command line."""

import os

# cuBLAS repeats its bits with these work spaces only, and reads the variable once in a process,
# at the first matrix product; a value that the user has set stays.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
