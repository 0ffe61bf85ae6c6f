"""The node daemon: leases, worker processes, actors, placement groups, logs."""
