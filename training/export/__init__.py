"""Exports trained weights to ONNX with their model card and Triton configuration."""
