"""Data pack, augmentation, samples and batch samplers."""
