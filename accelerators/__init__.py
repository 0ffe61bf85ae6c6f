"""Drivers for devices: what a machine has, and how a worker is given some of it. One kind a file."""
