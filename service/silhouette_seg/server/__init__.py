"""The uvicorn server with the HTTP and WebSocket protocol classes of the service."""
