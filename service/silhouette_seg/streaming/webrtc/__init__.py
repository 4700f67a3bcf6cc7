"""Live video over WebRTC with aiortc."""
