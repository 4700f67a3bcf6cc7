"""ASGI middleware: request log, CORS, unhandled errors and security headers."""
