"""What leads a run: a state machine without I/O, and the shell around it."""
