"""ASGI middleware: request log and response headers."""
