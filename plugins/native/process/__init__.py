"""Starting, watching and cleaning up processes."""
