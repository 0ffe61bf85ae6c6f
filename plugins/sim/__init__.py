"""Simulation: virtual time, a seeded and faulty network, and the control plane's own state machines on it."""
