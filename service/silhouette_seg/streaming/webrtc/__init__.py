"""Live video over WebRTC. Only `peers` may be imported at start: the rest loads aiortc."""
