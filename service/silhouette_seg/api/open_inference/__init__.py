"""The Open Inference Protocol (KServe v2) over REST: tensors in and out, for every model."""
