"""Rejects parameters of `POST /v1/segment` that have no effect beside others."""

from collections.abc import Mapping

from silhouette_seg.errors import BadParameter, Setting
from silhouette_seg.pipeline.options import PHOTO_DEFAULTS, BlurredFaces, Output

WITHOUT_EFFECT_ON_FACES = (
    "person",
    "refine",
    "decontaminate",
    "threshold",
    "grow",
    "feather",
    "invert",
    "layout",
    "light_wrap",
)
"""Parameters without effect on a photo with blurred faces, which shows everyone as they are."""
COMPOSITE = Setting("output", Output.COMPOSITE.value)


def check_combination(values: Mapping[str, object], *, has_background_image: bool) -> None:
    """Raises BadParameter if one of the parsed values has no effect in this combination.

    `values` are the parsed parameters by name. `has_background_image` is true if the request has a
    background image as a file.
    """
    _check_background(values, has_background_image=has_background_image)
    if "layout" in values and values.get("crop"):
        raise BadParameter.about("crop", "has no effect with a layout, which places the person")
    if "layout" in values and values.get("invert"):
        raise BadParameter.about(
            "layout",
            "places the person, and ",
            Setting("invert", "true"),
            " removes them",
        )
    if values.get("crop_margin") and not values.get("crop"):
        raise needs("crop_margin", Setting("crop", "true"))
    _check_trimap(values)


def _check_background(values: Mapping[str, object], *, has_background_image: bool) -> None:
    background = values.get("background", PHOTO_DEFAULTS.background)
    sets_background = background != PHOTO_DEFAULTS.background
    if has_background_image and sets_background:
        raise given_twice()
    composite = values.get("output") is Output.COMPOSITE
    if not composite and (has_background_image or sets_background):
        raise needs("background", COMPOSITE)
    if not composite and values.get("light_wrap"):
        raise needs("light_wrap", COMPOSITE)
    if isinstance(background, BlurredFaces):
        for name in WITHOUT_EFFECT_ON_FACES:
            if values.get(name, default := getattr(PHOTO_DEFAULTS, name)) != default:
                faces = Setting("background", "blur_faces")
                raise BadParameter.about(name, "has no effect with ", faces)


def given_twice() -> BadParameter:
    """Returns the error of a request with two backgrounds."""
    image = Setting("background_image")
    return BadParameter.about("background", "is given twice, as a value and as ", image)


def _check_trimap(values: Mapping[str, object]) -> None:
    trimap = values.get("output") is Output.TRIMAP
    sets_band = values.get("trimap_band", PHOTO_DEFAULTS.trimap_band) != PHOTO_DEFAULTS.trimap_band
    if sets_band and not trimap:
        raise needs("trimap_band", Setting("output", "trimap"))
    if trimap and "layout" in values:
        raise BadParameter.about(
            "layout", "a trimap is that of the photo, where the person stays in place"
        )


def needs(name: str, other: Setting) -> BadParameter:
    """Returns the error of a parameter without the other one that it needs."""
    return BadParameter.about(name, "needs ", other)
