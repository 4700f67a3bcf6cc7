"""Segments live video over WebRTC, with the library aiortc."""
