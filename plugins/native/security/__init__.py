"""Who may speak to a session from another machine: private files, certificates, and connections under TLS."""
