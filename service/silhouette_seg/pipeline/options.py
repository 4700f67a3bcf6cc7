"""Options for rendering a photo and its mask: the same for HTTP, streams and the command line."""

from dataclasses import dataclass
from enum import StrEnum

from silhouette_seg.vision.compose.layout import Layout


class Output(StrEnum):
    """Kind of the rendered image."""

    MASK = "mask"
    """8-bit grey: the alpha itself."""
    CUTOUT = "cutout"
    """RGBA: the person on a transparent background."""
    COMPOSITE = "composite"
    """RGB: the person on a background."""


class PersonSelection(StrEnum):
    """People that the mask keeps."""

    ALL = "all"
    """Everybody in the photo."""
    DOMINANT = "dominant"
    """One person, by the rule of `vision.mask.person_selection`."""


class Refinement(StrEnum):
    """Source of the edges of the mask."""

    NONE = "none"
    """The model alone."""
    GUIDED = "guided"
    """The photo at its own resolution, wherever the model is uncertain."""


@dataclass(frozen=True, slots=True)
class Colour:
    """A background of one colour; `rgb` has 8 bits a channel."""

    rgb: tuple[int, int, int]

    def __str__(self) -> str:
        return "#{:02x}{:02x}{:02x}".format(*self.rgb)


@dataclass(frozen=True, slots=True)
class Blur:
    """The photo itself as background, blurred by a radius in percent of its short side."""

    radius_percent: float

    def __str__(self) -> str:
        return f"blur:{self.radius_percent:g}"


@dataclass(frozen=True, slots=True)
class BackgroundImage:
    """Another image as background. The job or the stream options hold the image itself."""

    def __str__(self) -> str:
        return "picture"


Background = Colour | Blur | BackgroundImage


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """Edits of the mask, and the image to render with it.

    They apply in this order: person, refine, threshold, grow, feather, invert, then the image.
    """

    output: Output = Output.MASK
    background: Background = Blur(3.0)
    person: PersonSelection = PersonSelection.ALL
    refine: Refinement = Refinement.NONE
    threshold: float | None = None
    """Alpha 0..1 from which a pixel of the binary mask is person; None keeps the mask soft."""
    grow: int = 0
    """Pixels of the photo by which the outline moves outwards; a negative value shrinks."""
    feather: float = 0.0
    """Pixels of the photo over which the outline is softened."""
    invert: bool = False
    """True keeps the background instead of the person."""
    decontaminate: bool = False
    """True removes the old background's colour from the edge."""
    crop: bool = False
    """True crops the image to the person."""
    crop_margin: float = 0.0
    """Margin on each side of the crop, in percent of the person's height and width."""
    layout: Layout | None = None
    """Places of the person in the image; None leaves the person in place."""
    light_wrap: float = 0.0
    """Percent of the new background's light that is added to the person's edge."""
    require_foreground: bool = False
    """True makes a photo without a person an error."""

    @property
    def transparent(self) -> bool:
        """True for an image with an alpha channel."""
        return self.output is Output.CUTOUT

    @property
    def only_mask(self) -> bool:
        """True for a mask, which needs no colours of the photo."""
        return self.output is Output.MASK

    def wire_values(self) -> dict[str, str | float | bool | None]:
        """Returns the options by parameter name of the API, as values that JSON holds exactly.

        ETags are made of them, so names and values must stay as they are.
        """
        background = str(self.background)
        if isinstance(self.background, Blur):
            background = f"blur:{self.background.radius_percent!r}"  # `str` rounds to six digits
        return {
            "output": self.output.value,
            "background": background,
            "person": self.person.value,
            "refine": self.refine.value,
            "threshold": self.threshold,
            "grow": self.grow,
            "feather": self.feather,
            "invert": self.invert,
            "decontaminate": self.decontaminate,
            "crop": self.crop,
            "crop_margin": self.crop_margin,
            "layout": None if self.layout is None else str(self.layout),
            "light_wrap": self.light_wrap,
            "require_foreground": self.require_foreground,
        }


PHOTO_DEFAULTS = RenderOptions(refine=Refinement.GUIDED, decontaminate=True)
"""Options of a photo request that sets none."""
