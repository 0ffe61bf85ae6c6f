"""Finding, checking and holding plugins. Ours come in through the same door as a stranger's."""
