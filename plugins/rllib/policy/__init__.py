"""Batches of steps."""
