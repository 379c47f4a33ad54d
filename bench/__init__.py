"""What runs: specs, trainer, evidence, store, executors, command line."""
