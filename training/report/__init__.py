"""Report on all exported models on the same photos: training/RESULTS.md and its plots."""
