"""Benchmarks of pixels, models, HTTP, Triton and live video; figures are never asserted."""
