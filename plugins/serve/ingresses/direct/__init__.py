"""Replicas that accept connections themselves, at one port that they share."""
