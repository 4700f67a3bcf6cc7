"""Options of the photo tab, and their effects on the result."""

import re

import numpy as np
import pytest
from skimage.data import astronaut

from tests.integration.conftest import on_socket
from tests.integration.page.browser import BROWSER_MARKS
from tests.integration.page.photos import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    horizontal_centre,
    lower_edge,
    one_person,
    person_pixels,
    soft_pixels,
)
from tests.support.images import make, quadrants
from tests.support.tiny_model import tiny_spec, write_tiny_model

pytestmark = BROWSER_MARKS


def test_composite_has_selected_colour(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    demo.change(lambda: demo.select("output", "composite"))
    demo.page.locator("label:has([name=background][value=colour])").click()
    demo.change(lambda: demo.page.click("[data-colour='#2f6f8f']"))

    result = demo.result()
    assert tuple(result[GREEN[1], GREEN[0]]) == (0x2F, 0x6F, 0x8F, 255)
    assert tuple(result[RED[1], RED[0]]) == (255, 0, 0, 255)


def test_composite_has_selected_background_image(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    demo.change(lambda: demo.select("output", "composite"))
    demo.select("background", "image")
    demo.page.wait_for_selector("main[data-state=waiting]")
    green = np.full((40, 30, 3), (10, 200, 120), np.uint8)
    image = {"name": "b.png", "mimeType": "image/png", "buffer": make("PNG", green)}
    demo.change(lambda: demo.page.set_input_files("#background-image", image))

    assert tuple(demo.result()[BLUE[1], BLUE[0]]) == (10, 200, 120, 255)
    assert "background_image=@b.png" in demo.page.inner_text("#curl")


def test_request_leaves_out_defaults(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()

    assert demo.last_request() == {"output": "cutout"}
    demo.toggle_fold("Placement")
    demo.set_slider("Size", 60)
    demo.toggle_fold("Edges")
    demo.change(lambda: demo.page.get_by_label("Refine edges").uncheck())
    demo.change(lambda: demo.page.get_by_role("button", name="Reset options").click())
    assert demo.last_request() == {"output": "cutout"}
    assert demo.page.inner_text("#placement-state") == "As in the photo"


def test_main_person_option_removes_other_people(demo):
    photo = one_person()
    photo[180:, 260:310] = (255, 0, 0)
    demo.choose_photo(make("PNG", photo))
    demo.wait_for_result()
    assert demo.result()[220, 285, 3] > 200
    demo.change(lambda: demo.select("person", "dominant"))

    assert demo.last_request() == {"output": "cutout", "person": "dominant"}
    result = demo.result()[..., 3]
    assert result[220, 285] == 0
    assert result[200, 100] > 200
    assert re.search(r"Person\s+Main person kept", demo.page.inner_text("#facts"))


def test_refinement_narrows_edges_unless_switched_off(demo):
    """The model sees a hundredth of the pixels of the photo, so its own edge is wide."""
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    refined = demo.result()[..., 3]
    demo.toggle_fold("Edges")
    demo.change(lambda: demo.page.get_by_label("Refine edges").uncheck())

    assert demo.last_request() == {"output": "cutout", "refine": "none"}
    coarse = demo.result()[..., 3]
    assert soft_pixels(refined) < soft_pixels(coarse)


def test_decontamination_changes_edge_colours_only(demo):
    """The alpha is unchanged; colours differ only where it is partial."""
    demo.choose_photo(make("PNG", astronaut()))
    demo.wait_for_result()
    clean = demo.result()
    demo.toggle_fold("Edges")
    demo.change(lambda: demo.page.get_by_label("Remove colour spill").uncheck())

    assert demo.last_request() == {"output": "cutout", "decontaminate": "false"}
    with_spill = demo.result()
    differ = (clean[..., :3] != with_spill[..., :3]).any(axis=-1)
    assert (clean[..., 3] == with_spill[..., 3]).all()
    assert differ.any()
    assert not differ[clean[..., 3] == 255].any()


def test_light_wrap_brightens_edges_only(demo):
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    assert not demo.page.get_by_role("slider", name="Light wrap").is_visible()
    demo.change(lambda: demo.select("output", "composite"))
    demo.change(lambda: demo.select("background", "colour"))
    plain = demo.result().astype(int)
    demo.set_slider("Light wrap", 80)

    assert demo.last_request()["light_wrap"] == "80"
    brighter = (demo.result().astype(int) - plain).sum(axis=-1)
    assert brighter.max() > 100
    assert brighter[200, 100] < 20


def test_folded_options_are_named_in_their_summaries(demo):
    demo.page.wait_for_selector("#model option[value=connectnet]", state="attached")
    assert demo.page.inner_text("#edges-state") == "Refined"
    assert demo.page.inner_text("output[for=model]").startswith("Automatic")
    demo.open_folds()
    demo.page.get_by_label("Refine edges").uncheck()
    demo.page.get_by_label("Hard edge").check()
    demo.page.get_by_role("slider", name="Grow").fill("-4")
    demo.page.locator("#model").select_option("connectnet")

    assert demo.page.inner_text("#edges-state") == "Not refined, hard, shrunk 4\u00a0px"
    assert demo.page.inner_text("output[for=model]") == "connectnet"


def test_placement_starts_at_the_person(demo):
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    before = demo.result()[..., 3].astype(int)
    demo.toggle_fold("Placement")
    demo.change(lambda: demo.page.get_by_label("Move the person").check())
    moved = demo.result()[..., 3].astype(int)
    demo.set_slider("From the left", 70)

    assert np.abs(before - moved).mean() < 3
    assert re.fullmatch(r"x:0\.7,y:[01](\.\d+)?", demo.last_request()["layout"])
    assert horizontal_centre(demo.result()) == pytest.approx(0.7 * 320, abs=4)
    demo.set_slider("From the top", 60)
    assert demo.last_request()["layout"] == "x:0.7,y:0.6"
    assert lower_edge(demo.result()) == pytest.approx(0.6 * 240, abs=4)


def test_person_is_scaled_and_mirrored_in_place(demo):
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    whole = demo.result()
    demo.toggle_fold("Placement")
    demo.set_slider("Size", 50)

    assert demo.last_request() == {"output": "cutout", "layout": "scale:0.5"}
    half = demo.result()
    assert person_pixels(half) == pytest.approx(person_pixels(whole) / 4, rel=0.1)
    assert horizontal_centre(half) == pytest.approx(horizontal_centre(whole), abs=3)
    assert lower_edge(half) == pytest.approx(lower_edge(whole), abs=3)
    assert half[230, 90, 2] < 50
    demo.change(lambda: demo.page.get_by_label("Mirror", exact=True).check())
    assert demo.last_request()["layout"] == "scale:0.5,flip:true"
    assert demo.result()[230, 90, 2] > 200
    assert demo.page.inner_text("#placement-state") == "50\u00a0%, mirrored"


def test_copies_are_spaced_evenly(demo):
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    demo.toggle_fold("Placement")
    demo.set_slider("Size", 40)
    demo.set_slider("Copies", 3)
    demo.set_slider("Spacing", 30)

    layout = "x:0.2,scale:0.4;x:0.5,scale:0.4;x:0.8,scale:0.4"
    assert demo.last_request() == {"output": "cutout", "layout": layout}
    row = demo.result()[220, :, 3] > 127
    starts = np.flatnonzero(np.diff(row.astype(int)) == 1)
    ends = np.flatnonzero(np.diff(row.astype(int)) == -1)
    assert (starts + ends) / 2 == pytest.approx([0.2 * 320, 0.5 * 320, 0.8 * 320], abs=4)


def test_crop_and_placement_exclude_each_other(demo):
    crop, invert = (
        demo.page.get_by_label(label)
        for label in ("Crop to the person", "Keep the background instead")
    )
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    demo.toggle_fold("Placement")
    demo.set_slider("Size", 50)
    assert crop.is_disabled()
    assert invert.is_disabled()
    demo.set_slider("Size", 100)
    demo.change(crop.check)

    assert not demo.page.get_by_role("slider", name="Size").is_visible()
    assert demo.page.locator("#placement-note").is_visible()
    assert demo.last_request() == {"output": "cutout", "crop": "true"}


def test_controls_without_effect_are_hidden(demo):
    spill, wrap = (demo.page.get_by_label(name) for name in ("Remove colour spill", "Light wrap"))
    demo.toggle_fold("Edges")
    shown = {}
    for output in ("cutout", "composite", "trimap", "mask"):
        demo.select("output", output)
        shown[output] = spill.is_visible(), wrap.is_visible()

    assert shown == {"cutout": (True, False), "composite": (True, True)} | dict.fromkeys(
        ("mask", "trimap"), (False, False)
    )
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    assert demo.last_request() == {}


def test_mask_is_hardened_and_inverted(demo):
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()
    demo.change(lambda: demo.select("output", "mask"))
    demo.toggle_fold("Edges")
    demo.change(lambda: demo.page.get_by_label("Hard edge").check())
    demo.change(lambda: demo.page.get_by_label("Keep the background instead").check())

    result = demo.result()
    assert set(np.unique(result[..., 0])) == {0, 255}
    assert [result[y, x, 0] for x, y in (RED, GREEN, BLUE, WHITE)] == [0, 255, 255, 0]


def test_trimap_has_a_band_and_no_placement(demo):
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    demo.change(lambda: demo.select("output", "trimap"))
    assert demo.last_request() == {"output": "trimap"}
    demo.set_slider("Unknown band", 5)

    assert demo.last_request() == {"output": "trimap", "trimap_band": "5"}
    assert set(np.unique(demo.result()[..., 0])) == {0, 128, 255}
    assert not demo.page.get_by_text("Placement", exact=True).is_visible()
    assert demo.page.locator("[name=format][value=jpeg]").is_disabled()


def test_blurred_faces_hide_options_of_the_mask(open_demo, live_settings, tmp_path):
    for name in ("connectnet", "face_detector"):
        write_tiny_model(tmp_path, tiny_spec(name))
    photo = one_person()
    with on_socket(live_settings(model_repository=tmp_path)) as running:
        demo = open_demo(running.url)
        demo.choose_photo(make("PNG", photo))
        demo.wait_for_result()
        demo.toggle_fold("Edges")
        demo.set_slider("Grow", 10)
        demo.change(lambda: demo.select("output", "composite"))
        demo.change(lambda: demo.select("background", "faces"))

        assert demo.last_request() == {"output": "composite", "background": "blur_faces"}
        assert not demo.page.get_by_role("slider", name="Grow").is_visible()
        facts = demo.page.inner_text("#facts")
        assert re.search(r"Faces\s+No face was found, so none is blurred", facts)
        assert (demo.result()[..., :3] == photo).all()
