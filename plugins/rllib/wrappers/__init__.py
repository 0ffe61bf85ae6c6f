"""Environments around others."""
