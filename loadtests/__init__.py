"""Load on a running server, from outside: it imports nothing of the service, only speaks to it."""
