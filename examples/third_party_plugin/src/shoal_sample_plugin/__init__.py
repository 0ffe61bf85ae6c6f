"""A scheduler and a metadata store for shoal, as a package of their own would bring them."""
