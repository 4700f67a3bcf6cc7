"""Mask quality, edge refinement and the selection of people."""
