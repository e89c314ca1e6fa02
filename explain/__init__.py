"""Everything that gives a reason for one prediction."""
