"""Portrait segmentation service: turns photos and video into masks, cut-outs and composites."""

import os

# ONNX Runtime sends telemetry unless this variable is set before it loads.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
