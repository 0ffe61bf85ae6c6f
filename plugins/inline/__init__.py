"""The inline engine: everything in the calling process, deterministic; the plain model of the native engine."""
