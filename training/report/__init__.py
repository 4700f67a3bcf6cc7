"""Every exported segmentation model on the same photos: training/RESULTS.md and its plots."""
