"""Numbers that are told of sampling and learning."""
