"""What things cost: pixels, models, and HTTP around them. Numbers are reported, never asserted."""
