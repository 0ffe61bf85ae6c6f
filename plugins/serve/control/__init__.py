"""The controller: from what is wanted to what is to be done, and the actor that does it."""
