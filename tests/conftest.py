"""Settings of all tests."""

from hypothesis import settings

# A busy machine is no failure: nothing here is timed.
settings.register_profile("prunebench", deadline=None)
settings.load_profile("prunebench")
