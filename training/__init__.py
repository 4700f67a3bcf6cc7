"""Makes, measures and exports the models that `model_repository/` holds."""

import os

# ONNX Runtime reports to its makers over the network unless this is set before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
