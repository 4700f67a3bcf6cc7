"""Models and inputs for the tests of TritonEngine."""

import numpy as np

from tests.support.tiny_model import tiny_spec

SPECS = [tiny_spec(name) for name in ("connectnet", "rcrnet", "md_trisenet", "face_detector")]
SPEC = SPECS[0]


def photo(seed=0, rows=1, spec=SPEC):
    """Returns random inputs of `rows` rows."""
    image = np.random.default_rng(seed).integers(0, 256, (rows, *spec.size_hw, 3), np.uint8)
    arrays = {"image": image, "prior": image[..., 1], "domain": (np.arange(rows) + seed) % 6}
    return {tensor.name: arrays[tensor.name] for tensor in spec.inputs}
