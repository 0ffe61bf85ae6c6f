"""What runs the rows: declarations, measuring, child processes, the table."""
