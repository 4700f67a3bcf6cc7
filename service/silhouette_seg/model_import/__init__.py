"""Import of other people's models: ONNX graphs become folders of a model repository."""
