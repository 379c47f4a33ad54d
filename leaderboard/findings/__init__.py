"""What a board found, in sentences; each rests on tests and intervals that the protocol names."""

from prunebench.leaderboard.findings.all_findings import findings as findings
from prunebench.leaderboard.findings.model import Finding as Finding
from prunebench.leaderboard.findings.model import Ground as Ground
from prunebench.leaderboard.findings.targets import target_findings as target_findings
