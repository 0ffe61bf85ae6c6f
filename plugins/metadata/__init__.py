"""Drivers for what the head must not forget: one store a file, each chosen by name."""
