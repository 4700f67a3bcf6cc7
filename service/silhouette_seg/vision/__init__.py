"""The one home for pixels: pure numpy and codecs, shared by serving, training and export."""
