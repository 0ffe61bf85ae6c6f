"""A model of the cluster: a head, node daemons, workers and drivers around the control plane's own state machines."""
