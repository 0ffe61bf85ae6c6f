"""Ways of HTTP to the replicas: plugins of the group `shoal.serve.ingresses`."""
