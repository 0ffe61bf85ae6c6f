"""What an author of plugins needs: one contract for each interface, to run on a plugin of theirs."""
