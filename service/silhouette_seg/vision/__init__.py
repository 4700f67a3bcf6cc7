"""Image operations on numpy arrays, and image codecs. Serving, training and export share them."""
