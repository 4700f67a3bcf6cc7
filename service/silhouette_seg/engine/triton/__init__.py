"""Engine for models on an NVIDIA Triton server, over gRPC."""
