"""The gateway: photos and frames in, masks, cut-outs and composites out."""

import os

# ONNX Runtime reports to its makers over the network unless this is set before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
