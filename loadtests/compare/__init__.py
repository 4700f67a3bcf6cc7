"""Measures the service and alternative servers with the same photos and clients."""
