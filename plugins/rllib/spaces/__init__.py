"""Spaces, and values of them."""
