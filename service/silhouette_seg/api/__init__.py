"""HTTP and WebSocket routes of the service, and the parsing and formatting that they share."""
