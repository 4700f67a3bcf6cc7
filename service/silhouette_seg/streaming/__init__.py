"""Live video: one session per stream, and the WebSocket and WebRTC transports that feed it."""
