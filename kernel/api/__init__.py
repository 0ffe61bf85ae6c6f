"""What users call: thin, typed, over the engine of this process."""
