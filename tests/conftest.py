"""Settings of all tests."""

import os
import signal

from hypothesis import settings

# Two test processes on two cores: threads of their own would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does

# A busy machine is no failure: nothing here is timed.
settings.register_profile("prunebench", deadline=None)
settings.load_profile("prunebench")

# Started in the background of a script, Python inherits a SIGINT that is ignored.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
