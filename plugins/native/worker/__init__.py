"""The worker process: runs tasks, or hosts one actor."""
