"""The service beside what people would use instead, measured alike."""
