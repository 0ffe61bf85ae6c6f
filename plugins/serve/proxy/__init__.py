"""Proxies: from HTTP to replicas."""
