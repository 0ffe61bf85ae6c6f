"""What an author of plugins needs: one contract for each interface, to run on a plugin of theirs.

There is nothing to rewrite in this file, which the pytest plugin loads before it can ask for the rewriting of the rest:
PYTEST_DONT_REWRITE keeps pytest from warning about that.
"""
