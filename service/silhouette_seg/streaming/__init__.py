"""Live video: segments the frames of video streams that arrive over WebSocket or WebRTC."""
