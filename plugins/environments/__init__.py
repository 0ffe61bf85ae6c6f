"""Steps that make the environment of a worker: one key of `runtime_env` a file."""
