"""Episodes, and who plays them."""
