"""Decodes and encodes images, with colour management."""
