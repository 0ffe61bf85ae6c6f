"""The control service: nodes, the directory of actors, placement groups, keys and values. It knows no task."""
