"""The conformance suite: what a pruning method promises, checked in seconds without data.

Example::

    from prunebench.bench.checks import check_method, checks_for

    check_method("my-method").raise_for_failures()

    @pytest.mark.parametrize("check", checks_for(MyPruner), ids=str)
    def test_contract(check):
        check()
"""

from prunebench.bench.checks.report import Report, Result
from prunebench.bench.checks.run import BoundCheck, check_method, checks_for

__all__ = ["BoundCheck", "Report", "Result", "check_method", "checks_for"]
