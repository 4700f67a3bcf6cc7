"""Builds the parts of responses that several routes share."""
