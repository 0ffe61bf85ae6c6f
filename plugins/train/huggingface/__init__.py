"""Libraries of Hugging Face in training functions."""
