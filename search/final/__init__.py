"""From studies to one opening and its report: members, the frozen plan, the test rows."""
