"""From face boxes to the distance domain that a photo is segmented in."""

from enum import IntEnum


class Domain(IntEnum):
    """Distance of the person, by the share of the photo that the dominant face's box covers.

    Source: Multi-domain TriSeNet. The value is the index of the network's branch.
    """

    FAR_SHOT = 0
    WHOLE_BODY = 1
    HALF_BODY = 2
    CLOSE_SHOT = 3
    HEAD_SHOT = 4
    NO_FACE = 5

    @property
    def label(self) -> str:
        """As the API and the tables spell it: `far_shot`."""
        return self.name.lower()


CUTS = (0.005, 0.05, 0.1, 0.3)
"""The face ratio at which each domain after the first begins."""


def domain_of(ratio: float) -> Domain:
    """The domain of a face ratio 0..1; 0 means that there is no face."""
    if ratio <= 0:
        return Domain.NO_FACE
    return Domain(sum(ratio >= cut for cut in CUTS))
