"""Labelled photos on disk, what augmentation makes of them, and batches."""
