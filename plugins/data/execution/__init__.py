"""How a plan is carried out: a state machine that decides, and a shell that talks to the session."""
