"""What is computed of episodes before they are learned from."""
