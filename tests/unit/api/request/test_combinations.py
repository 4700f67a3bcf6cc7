import pytest

from silhouette_seg.api.request.combinations import WITHOUT_EFFECT_ON_FACES
from silhouette_seg.api.request.parameters import PARAMETERS, parse_parameters
from silhouette_seg.errors import BadParameter
from silhouette_seg.pipeline.options import BlurredFaces, MaskEncoding, Output

OTHER_VALUES = {
    "person": "dominant",
    "refine": "none",
    "decontaminate": "false",
    "threshold": "0.5",
    "grow": "2",
    "feather": "1",
    "invert": "true",
    "layout": "x:0.5",
    "light_wrap": "10",
}
FACES = {"output": "composite", "background": "blur_faces"}


def test_new_parameters_become_options():
    render = parse_parameters({"masks": "rle", "faces": "true"}).render
    assert (render.masks, render.faces) == (MaskEncoding.RLE, True)
    render = parse_parameters({"output": "trimap", "trimap_band": "2.5"}).render
    assert (render.output, render.trimap_band) == (Output.TRIMAP, 2.5)
    assert parse_parameters(FACES).render.background == BlurredFaces()


@pytest.mark.parametrize("name", WITHOUT_EFFECT_ON_FACES)
def test_option_without_effect_on_blurred_faces_is_rejected(name):
    with pytest.raises(BadParameter, match=f"{name}: has no effect with background=blur_faces"):
        parse_parameters({**FACES, name: OTHER_VALUES[name]})


def test_options_with_effect_on_blurred_faces_are_accepted():
    accepted = {"crop": "true", "crop_margin": "5", "keep_metadata": "true", "faces": "true"}
    assert parse_parameters({**FACES, **accepted}).render.crop
    defaults = {
        name: str(PARAMETERS[name].schema["default"])
        for name in WITHOUT_EFFECT_ON_FACES
        if "default" in PARAMETERS[name].schema
    }
    assert parse_parameters({**FACES, **defaults}) == parse_parameters(FACES)


@pytest.mark.parametrize(
    ("parameters", "detail"),
    [
        ({"background": "blur_faces"}, "background: needs output=composite"),
        ({"output": "trimap", "background": "blur_faces"}, "needs output=composite"),
        ({"trimap_band": "2"}, "trimap_band: needs output=trimap"),
        ({"output": "mask", "trimap_band": "0"}, "trimap_band: needs output=trimap"),
        ({"output": "trimap", "layout": "x:0.5"}, "layout: a trimap is that of the photo"),
        ({"output": "trimap", "trimap_band": "11"}, "must be a number from 0 to 10"),
        ({"masks": "coco"}, "masks: must be one of polygon, rle"),
        ({"faces": "maybe"}, "faces: must be true or false"),
    ],
)
def test_combination_without_effect_is_rejected(parameters, detail):
    with pytest.raises(BadParameter, match=detail):
        parse_parameters(parameters)


def test_blurred_faces_exclude_a_background_image():
    with pytest.raises(BadParameter, match="background: is given twice"):
        parse_parameters(FACES, has_background_image=True)
