"""The Open Inference Protocol (KServe v2) over REST: tensors in, tensors out, for every model."""
