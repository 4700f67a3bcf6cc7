"""Placement of the person by the pointer: a drag moves, and the wheel scales."""

import re

import pytest

from tests.integration.page.browser import BROWSER_MARKS
from tests.integration.page.demo_page import DemoPage
from tests.integration.page.photos import horizontal_centre, lower_edge, one_person
from tests.support.images import make

pytestmark = BROWSER_MARKS

HEIGHT, WIDTH = one_person().shape[:2]


@pytest.fixture
def movable(demo) -> DemoPage:
    """Shows the result of a person, with "Move the person" switched on."""
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    demo.toggle_fold("Placement")
    demo.change(lambda: demo.page.get_by_label("Move the person").check())
    return demo


def drag(demo: DemoPage, x: float, y: float) -> None:
    """Drags from the middle of the person by shares of the frame's sides."""
    demo.page.locator("#frame").scroll_into_view_if_needed()
    box = demo.page.locator("#frame").bounding_box()
    start = box["x"] + 0.3 * box["width"], box["y"] + 0.6 * box["height"]
    demo.page.mouse.move(*start)
    demo.page.mouse.down()
    demo.page.mouse.move(start[0] + x * box["width"], start[1] + y * box["height"], steps=4)


def test_drag_moves_the_person(movable):
    before = movable.result()
    drag(movable, 0.3, -0.25)
    outline = movable.page.locator("#outline").bounding_box()
    frame = movable.page.locator("#frame").bounding_box()
    movable.change(movable.page.mouse.up)

    moved = movable.result()
    assert horizontal_centre(moved) - horizontal_centre(before) == pytest.approx(0.3 * WIDTH, abs=6)
    assert lower_edge(moved) == pytest.approx(0.75 * HEIGHT, abs=6)
    outline_centre = (outline["x"] + outline["width"] / 2 - frame["x"]) / frame["width"]
    assert outline_centre * WIDTH == pytest.approx(horizontal_centre(moved), abs=8)
    assert not movable.page.locator("#outline").is_visible()
    assert movable.hidden_percent() == pytest.approx(50)


def test_wheel_scales_the_person(movable):
    movable.page.locator("#frame").hover()
    for _ in range(4):
        movable.page.mouse.wheel(0, 100)
    movable.page.wait_for_function(
        "() => document.querySelector('#download').hasAttribute('href')"
        " && document.querySelector('#size').value === '80'"
    )

    assert re.fullmatch(r"x:[\d.]+,y:[\d.]+,scale:0\.8", movable.last_request()["layout"])


def test_grip_compares_while_the_person_is_movable(movable):
    movable.page.locator("#frame").scroll_into_view_if_needed()
    grip = movable.page.locator(".grip").bounding_box()
    frame = movable.page.locator("#frame").bounding_box()
    y = grip["y"] + grip["height"] / 2
    movable.page.mouse.move(grip["x"] + grip["width"] / 2, y)
    movable.page.mouse.down()
    movable.page.mouse.move(frame["x"] + 0.25 * frame["width"], y)
    movable.page.mouse.up()

    assert movable.hidden_percent() == pytest.approx(75, abs=1)
    assert movable.page.get_attribute("#download", "href")


def test_drag_compares_where_the_person_is_not_movable(movable):
    movable.change(lambda: movable.page.get_by_label("Move the person").uncheck())
    assert movable.page.get_attribute("#frame", "data-drag") == "compare"
    movable.change(lambda: movable.page.get_by_label("Move the person").check())
    assert movable.page.get_attribute("#frame", "data-drag") == "place"
    movable.change(lambda: movable.select("output", "trimap"))
    assert movable.page.get_attribute("#frame", "data-drag") == "compare"
