"""Slow, obvious models that the compiled core is held against."""
