"""Reads requests: bodies, uploads, parameters and content negotiation."""
