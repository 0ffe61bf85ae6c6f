"""State machines without I/O: events in, effects out; no socket, no clock, no thread, no randomness."""
