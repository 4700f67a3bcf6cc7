"""Image bytes to pixels and back, with colour management."""
