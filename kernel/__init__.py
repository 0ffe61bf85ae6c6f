"""Shoal: tasks, actors and objects on many processes and machines. Nothing runs at import."""
