"""Options for rendering a photo and its mask: the same for HTTP, streams and the command line."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it imports OpenCV, and this module none of the packages for pixels
    from silhouette_seg.vision.compose.layout import Layout


class Output(StrEnum):
    """Kind of the rendered image."""

    MASK = "mask"
    """8-bit grey image of the alpha mask itself."""
    CUTOUT = "cutout"
    """RGBA: the person on a transparent background."""
    COMPOSITE = "composite"
    """RGB: the person on a background."""
    TRIMAP = "trimap"
    """8-bit grey image for matting tools: 0 background, 128 unknown, 255 person."""


class MaskEncoding(StrEnum):
    """Encoding of the people's masks in the JSON report, by the conventions of COCO."""

    POLYGON = "polygon"
    """Flat lists x1, y1, x2, y2, ... of the outlines."""
    RLE = "rle"
    """Run lengths in the compressed form of pycocotools."""


class PersonSelection(StrEnum):
    """Choice of the people that the mask shows."""

    ALL = "all"
    """Everybody in the photo."""
    DOMINANT = "dominant"
    """One person, chosen by the rule in `vision.mask.person_selection`."""


class Refinement(StrEnum):
    """Source of the mask's edges."""

    NONE = "none"
    """The model alone; the mask is enlarged from the model's resolution."""
    GUIDED = "guided"
    """The photo at its own resolution, wherever the model is uncertain: a guided filter."""


@dataclass(frozen=True, slots=True)
class Colour:
    """A background of one colour; `rgb` has red, green and blue, 0..255 each."""

    rgb: tuple[int, int, int]

    def __str__(self) -> str:
        return "#{:02x}{:02x}{:02x}".format(*self.rgb)


@dataclass(frozen=True, slots=True)
class Blur:
    """The photo itself as background, blurred.

    `radius_percent` is the Gaussian's sigma in percent of the photo's short side.
    """

    radius_percent: float

    def __str__(self) -> str:
        return f"blur:{self.radius_percent:g}"


@dataclass(frozen=True, slots=True)
class BackgroundImage:
    """Another image as background. `PhotoJob` and `StreamOptions` hold the image itself."""

    def __str__(self) -> str:
        return "picture"


@dataclass(frozen=True, slots=True)
class BlurredFaces:
    """The photo as it is, people included, with its faces made unrecognisable."""

    def __str__(self) -> str:
        return "blur_faces"


Background = Colour | Blur | BackgroundImage | BlurredFaces


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """Edits of the mask, the image to render with it, and the facts to report.

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
    """Distance, in pixels of the photo, over which the outline is softened to either side."""
    invert: bool = False
    """True keeps the background instead of the person."""
    decontaminate: bool = False
    """True removes the old background's colour from the pixels at the person's edge."""
    crop: bool = False
    """True crops the image to the person's bounding box and its margin."""
    crop_margin: float = 0.0
    """Margin on each side of the crop, in percent of the person's height and width."""
    layout: "Layout | None" = None
    """Copies of the person, moved, scaled or mirrored; None leaves the person in place."""
    light_wrap: float = 0.0
    """Percent, 0..100, of the new background's light that is added to the person's edge."""
    trimap_band: float = 1.0
    """Reach of a trimap's unknown band beyond uncertain pixels, in percent of the short side."""
    require_foreground: bool = False
    """True: a photo without a person raises errors.ForegroundMissing."""
    masks: MaskEncoding | None = None
    """Encoding of the mask of each person in the JSON report; None leaves people out."""
    faces: bool = False
    """True: the JSON report lists the faces."""

    @property
    def transparent(self) -> bool:
        """True if the rendered image has an alpha channel."""
        return self.output is Output.CUTOUT

    @property
    def only_mask(self) -> bool:
        """True if the rendered image shows the mask alone, which needs no colours of the photo."""
        return self.output in (Output.MASK, Output.TRIMAP)

    @property
    def has_report(self) -> bool:
        """True if facts are requested that the JSON report alone can hold."""
        return self.masks is not None or self.faces

    @property
    def requires_faces(self) -> bool:
        """True if there is no result without a face detector."""
        return self.faces or isinstance(self.background, BlurredFaces)

    @property
    def uses_faces(self) -> bool:
        """True if the result depends on the faces of the photo, where there is a face detector."""
        selects = self.person is PersonSelection.DOMINANT
        return self.requires_faces or selects or self.masks is not None

    def wire_values(self) -> dict[str, str | float | bool | None]:
        """Returns the options as a dictionary by parameter name of the API.

        JSON holds the values exactly. ETags are made of names and values, so both must stay as they
        are.
        """
        background = str(self.background)
        if isinstance(self.background, Blur):
            background = f"blur:{self.background.radius_percent!r}"  # `str` rounds to six digits
        values: dict[str, str | float | bool | None] = {
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
        # Later options appear only if they are set, so that all other ETags stay as they are.
        if self.trimap_band != PHOTO_DEFAULTS.trimap_band:
            values["trimap_band"] = self.trimap_band
        if self.masks is not None:
            values["masks"] = self.masks.value
        if self.faces:
            values["faces"] = True
        return values


PHOTO_DEFAULTS = RenderOptions(refine=Refinement.GUIDED, decontaminate=True)
"""Render options of a photo request that sets no option."""
