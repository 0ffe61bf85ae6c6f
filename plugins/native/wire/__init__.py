"""What goes over a connection: message kinds and the handshake."""
