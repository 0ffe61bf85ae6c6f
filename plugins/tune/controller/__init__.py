"""What an experiment does next: events in, actions out; and the shell around it."""
