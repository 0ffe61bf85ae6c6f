"""Drivers that decide where work goes: one policy a file, each chosen by name."""
