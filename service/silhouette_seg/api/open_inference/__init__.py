"""The Open Inference Protocol (KServe v2) over REST: runs a model on tensors of a client."""
