"""What is measured: one family of rows a file. A row is written once and runs on both systems."""
