"""Random tensors of every dtype of the protocol."""

import numpy as np

DTYPES = ("uint8", "int64", "float32")


def random_tensor(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Returns any value of an integer dtype, or floats of a magnitude that depends on the seed."""
    random = np.random.default_rng(seed)
    if dtype == "float32":
        return random.standard_normal(shape).astype(dtype) * np.float32(10.0 ** (seed % 60 - 30))
    bounds = np.iinfo(dtype)
    return random.integers(bounds.min, bounds.max, shape, dtype, endpoint=True)
