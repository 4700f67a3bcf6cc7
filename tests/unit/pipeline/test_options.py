from dataclasses import fields, replace

import pytest

from silhouette_seg.pipeline.options import (
    BackgroundImage,
    Blur,
    BlurredFaces,
    Colour,
    MaskEncoding,
    Output,
    PersonSelection,
    Refinement,
    RenderOptions,
)
from silhouette_seg.vision.compose.layout import parse_layout

CHANGES = [
    {"output": Output.CUTOUT},
    {"background": Colour((0, 0, 0))},
    {"background": BackgroundImage()},
    {"background": Blur(3.0000001)},
    {"person": PersonSelection.DOMINANT},
    {"refine": Refinement.GUIDED},
    {"threshold": 0.5},
    {"grow": 1},
    {"feather": 1.0},
    {"invert": True},
    {"decontaminate": True},
    {"crop": True},
    {"crop_margin": 1.0},
    {"layout": parse_layout("x:0.5")},
    {"light_wrap": 1.0},
    {"require_foreground": True},
    {"output": Output.TRIMAP},
    {"background": BlurredFaces()},
    {"trimap_band": 2.0},
    {"masks": MaskEncoding.POLYGON},
    {"faces": True},
]


def test_wire_values_of_defaults_are_golden():
    assert RenderOptions().wire_values() == {
        "output": "mask",
        "background": "blur:3.0",
        "person": "all",
        "refine": "none",
        "threshold": None,
        "grow": 0,
        "feather": 0.0,
        "invert": False,
        "decontaminate": False,
        "crop": False,
        "crop_margin": 0.0,
        "layout": None,
        "light_wrap": 0.0,
        "require_foreground": False,
    }


def test_wire_values_of_other_options_are_golden():
    options = RenderOptions(
        output=Output.COMPOSITE,
        background=Colour((255, 0, 16)),
        person=PersonSelection.DOMINANT,
        refine=Refinement.GUIDED,
        threshold=0.5,
        layout=parse_layout("x:0.5,flip:true"),
    )
    values = options.wire_values()
    assert (values["output"], values["background"]) == ("composite", "#ff0010")
    assert (values["person"], values["refine"]) == ("dominant", "guided")
    assert (values["threshold"], values["layout"]) == (0.5, "x:0.5,flip:true")


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_wire_values_differ_when_an_option_differs(change):
    assert replace(RenderOptions(), **change).wire_values() != RenderOptions().wire_values()


def test_wire_values_hold_every_option():
    changed = {name for change in CHANGES for name in change}
    names = {field.name for field in fields(RenderOptions)}
    later = RenderOptions(trimap_band=2, masks=MaskEncoding.RLE, faces=True)
    assert changed == names == set(later.wire_values())
