"""Live video: a session per stream, and the transports that feed it."""
