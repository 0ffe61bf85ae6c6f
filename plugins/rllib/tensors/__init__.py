"""Small functions on arrays and tensors."""
