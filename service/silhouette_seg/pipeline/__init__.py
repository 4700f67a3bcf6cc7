"""The path from a decoded image to a finished mask or composite, without HTTP."""
