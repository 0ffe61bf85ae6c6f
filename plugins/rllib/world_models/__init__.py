"""Models of environments that are learned of sequences, and policies that are learned in them."""
