"""The command line without an installation: ``PYTHONPATH=src python -m prunebench``."""

from prunebench.bench.cli import main

if __name__ == "__main__":
    main()
