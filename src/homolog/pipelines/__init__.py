"""Engines put in a row, one file a question."""
