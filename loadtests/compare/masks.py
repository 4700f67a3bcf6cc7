"""Validates masks in responses and compares them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from loadtests.compare.photos import HEIGHT, WIDTH

PERSON_LEVEL = 128
"""Lowest level of a pixel that belongs to the person."""

Mask = NDArray[np.uint8]


class InvalidMask(Exception):
    """A response is not a mask of the photo. The message is the reason."""


def read_mask(body: bytes) -> Mask:
    """Decodes a PNG of one 8-bit channel to uint8 [HEIGHT,WIDTH]. Raises InvalidMask."""
    if not body.startswith(b"\x89PNG"):
        raise InvalidMask("not a PNG")
    mask = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    if mask is None:
        raise InvalidMask("an incomplete PNG")
    if mask.dtype != np.uint8 or mask.shape != (HEIGHT, WIDTH):
        raise InvalidMask(f"a PNG of {mask.dtype} {mask.shape}")
    return np.asarray(mask, np.uint8)


def intersection_over_union(one: Mask, other: Mask) -> float:
    """Returns the intersection over union of the person pixels, or 1 if neither mask has any."""
    a, b = one >= PERSON_LEVEL, other >= PERSON_LEVEL
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


@dataclass(slots=True)
class ResponseBodies:
    """Bodies of one run, counted by content.

    Equal bodies are decoded once, after the run: the client shares processors with the server.
    """

    counts: Counter[bytes] = field(default_factory=Counter)

    def add(self, body: bytes) -> None:
        """Counts a body."""
        self.counts[body] += 1

    def count_invalid(self) -> Mapping[str, int]:
        """Counts the bodies that are not masks, by reason."""
        invalid: Counter[str] = Counter()
        for body, times in self.counts.items():
            try:
                read_mask(body)
            except InvalidMask as error:
                invalid[str(error)] += times
        return invalid
