"""Drivers that keep object bytes: one store a file, each chosen by name."""
