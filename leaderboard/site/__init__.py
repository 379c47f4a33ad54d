"""A site over several boards: pages as a pure function of boards, cards and guides."""
