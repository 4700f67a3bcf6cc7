"""Blends a person with a background."""
