"""Connections and the loop that serves them."""
