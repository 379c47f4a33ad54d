"""Settings of all tests."""

import os

from hypothesis import settings

# Two test processes on two cores: threads of their own would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no failure: nothing here is timed.
settings.register_profile("prunebench", deadline=None)
settings.load_profile("prunebench")
