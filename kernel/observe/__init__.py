"""Looking in, never deciding: logs, metrics, traces."""
