"""Client mode: a driver outside the cluster, with one connection to it (`shoal://host:port`)."""
