"""What to make of a photo and its matte: the same for HTTP, streams and the command line."""

from dataclasses import dataclass
from enum import StrEnum

from silhouette_seg.vision.compose.layout import Layout


class Output(StrEnum):
    MASK = "mask"
    """8-bit grey: the alpha itself."""
    CUTOUT = "cutout"
    """RGBA: the person on nothing."""
    COMPOSITE = "composite"
    """RGB: the person on a background."""


class PersonSelection(StrEnum):
    """Who is kept."""

    ALL = "all"
    DOMINANT = "dominant"
    """One, by the rule of `vision.mask.person_selection`."""


class Refinement(StrEnum):
    """Where the edges of the mask come from."""

    NONE = "none"
    """The model alone."""
    GUIDED = "guided"
    """The photo at its own resolution, where the model is not sure."""


@dataclass(frozen=True, slots=True)
class Colour:
    rgb: tuple[int, int, int]

    def __str__(self) -> str:
        return "#{:02x}{:02x}{:02x}".format(*self.rgb)


@dataclass(frozen=True, slots=True)
class Blur:
    """The photo itself, blurred by a radius in percent of its short side."""

    radius_percent: float

    def __str__(self) -> str:
        return f"blur:{self.radius_percent:g}"


@dataclass(frozen=True, slots=True)
class BackgroundImage:
    """Another picture, which comes with the job."""

    def __str__(self) -> str:
        return "picture"


Background = Colour | Blur | BackgroundImage


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """In this order: person, refine, threshold, grow, feather, invert, then the picture."""

    output: Output = Output.MASK
    background: Background = Blur(3.0)
    person: PersonSelection = PersonSelection.ALL
    refine: Refinement = Refinement.NONE
    threshold: float | None = None
    """0..1; makes the mask hard."""
    grow: int = 0
    """Pixels of the photo; negative shrinks."""
    feather: float = 0.0
    """Pixels of the photo."""
    invert: bool = False
    """Keep the background instead of the person."""
    decontaminate: bool = False
    """Take the old background's colour out of the edge."""
    crop: bool = False
    crop_margin: float = 0.0
    """Percent of the person's height and width, added on each side."""
    layout: Layout | None = None
    """Where the person goes; None leaves them."""
    light_wrap: float = 0.0
    """Percent of the new background's light that comes round the person's rim."""
    require_foreground: bool = False

    @property
    def transparent(self) -> bool:
        return self.output is Output.CUTOUT

    @property
    def only_mask(self) -> bool:
        return self.output is Output.MASK


PHOTO_DEFAULTS = RenderOptions(refine=Refinement.GUIDED, decontaminate=True)
"""Options of a photo request that sets none."""
