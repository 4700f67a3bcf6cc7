"""Whether an answer is the mask that was asked for."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from loadtests.compare.photos import HEIGHT, WIDTH

PERSON = 128
"""From here on a pixel is of the person."""

Mask = NDArray[np.uint8]


class BadMask(Exception):
    """The answer is no mask of the photo; the message says what it is."""


def read_mask(body: bytes) -> Mask:
    """uint8 [HEIGHT,WIDTH] of a PNG with one channel of 8 bits. Raises BadMask."""
    if not body.startswith(b"\x89PNG"):
        raise BadMask("no PNG")
    mask = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    if mask is None:
        raise BadMask("a PNG that is not whole")
    if mask.dtype != np.uint8 or mask.shape != (HEIGHT, WIDTH):
        raise BadMask(f"a PNG of {mask.dtype} {mask.shape}")
    return np.asarray(mask, np.uint8)


def agreement(one: Mask, other: Mask) -> float:
    """Intersection over union of what is of the person; 1 where neither has any."""
    a, b = one >= PERSON, other >= PERSON
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


@dataclass(slots=True)
class Bodies:
    """Answers of one run. The same bytes are decoded once, and that after the run: the client
    shares the processors with the server.
    """

    counts: Counter[bytes] = field(default_factory=Counter)

    def add(self, body: bytes) -> None:
        self.counts[body] += 1

    def wrong(self) -> Mapping[str, int]:
        """How many were no mask, by what they were."""
        found: Counter[str] = Counter()
        for body, times in self.counts.items():
            try:
                read_mask(body)
            except BadMask as error:
                found[str(error)] += times
        return found
