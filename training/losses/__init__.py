"""Losses as pure functions, one kind in each file."""
