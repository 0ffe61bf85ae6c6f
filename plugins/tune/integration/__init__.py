"""Callbacks of other libraries that report to the experiment whose trial uses them."""
