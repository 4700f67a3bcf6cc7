"""Reads requests: bodies, uploads, credentials, parameters and content negotiation."""
