"""Frozen values that check themselves and do nothing else."""
