"""The native engine: processes that lease workers from a node daemon and talk to each other directly."""
