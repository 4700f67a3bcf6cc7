"""Measures models: masks, faces and temporal stability."""
