"""The process on a node that stands for a driver outside the cluster: it passes on bytes, and unpickles none."""
