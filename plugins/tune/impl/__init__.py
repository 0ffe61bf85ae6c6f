"""Spaces with objects in them that searchers need not see."""
