"""Further paths to names of shoal.train, as the reference has them."""
