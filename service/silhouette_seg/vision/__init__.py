"""Image operations in numpy and codecs, shared by serving, training and export."""
