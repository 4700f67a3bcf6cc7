"""Accessibility of every state: axe, small screens, sizes of targets, colours of the system."""

from collections.abc import Callable

import pytest

from tests.integration.page.axe import NO_VIOLATIONS, needs_axe, violations
from tests.integration.page.browser import BROWSER_MARKS
from tests.integration.page.demo_page import DemoPage
from tests.integration.page.photos import one_person
from tests.support.images import make, quadrants

pytestmark = BROWSER_MARKS

SMALL = {"width": 320, "height": 640}
"""The width at which WCAG 2.2 expects no scrolling in two directions (1.4.10)."""
MIN_TARGET_PX = 24
"""Smallest side of a target in WCAG 2.2 (2.5.8)."""
_TARGETS = "a[href], button, input, select, summary"
_SMALL_TARGETS = """([targets, minimum]) => [...document.querySelectorAll(targets)]
  .map(e => e.closest('label') ?? (e.matches('.visually-hidden') ? e.labels[0] : e))
  .filter(e => e.checkVisibility({ visibilityProperty: true }) && e.id !== 'slider')
  .map(e => [e.id || e.textContent.trim(), e.getBoundingClientRect()])
  .filter(([, { width, height }]) => width < minimum || height < minimum)
  .map(([name, { width, height }]) => `${name}: ${width} x ${height}`)"""


def show_nothing(demo: DemoPage) -> None:
    demo.page.locator("#health[data-health=ready]").wait_for()


def show_result(demo: DemoPage) -> None:
    demo.choose_photo(make("PNG", quadrants()))
    demo.wait_for_result()


def show_all_options(demo: DemoPage) -> None:
    show_result(demo)
    demo.open_folds()
    demo.change(lambda: demo.select("output", "composite"))
    demo.change(lambda: demo.select("background", "colour"))
    demo.set_slider("Copies", 2)


def show_batch(demo: DemoPage) -> None:
    photos = (quadrants(), one_person(), one_person()[:, ::-1])
    demo.choose_photos({f"{index}.png": make("PNG", photo) for index, photo in enumerate(photos)})
    demo.wait_for_batch()
    demo.wait_for_result()


def show_problem(demo: DemoPage) -> None:
    demo.choose_photo(b"not a picture at all", "note.txt")
    demo.page.get_by_role("alert").wait_for()
    demo.expect_http_error(415)


def show_key_form(demo: DemoPage) -> None:
    demo.page.eval_on_selector("#key-form", "form => { form.hidden = false; }")


def show_live_tab(demo: DemoPage) -> None:
    demo.page.get_by_role("tab", name="Live").click()
    demo.page.get_by_role("button", name="Start the camera").wait_for()


def show_stream(demo: DemoPage) -> None:
    show_live_tab(demo)
    demo.page.get_by_role("button", name="Start the camera").click()
    demo.page.wait_for_selector("#live[data-state=live]")
    demo.page.wait_for_selector("#live-stats-list dd")


STATES = [
    show_nothing,
    show_result,
    show_all_options,
    show_batch,
    show_problem,
    show_key_form,
    show_live_tab,
    show_stream,
]
each_state = pytest.mark.parametrize("show", STATES, ids=lambda show: show.__name__)
Show = Callable[[DemoPage], None]


@needs_axe
@each_state
def test_axe_finds_no_violations(show, open_demo, running):
    demo = open_demo(running.url, permissions=("camera",))
    show(demo)
    assert violations(demo.page) == NO_VIOLATIONS


@each_state
def test_smallest_screen_fits_the_width_and_has_large_targets(show, open_demo, running):
    demo = open_demo(running.url, viewport=SMALL, permissions=("camera",))
    show(demo)

    assert demo.page.evaluate("document.documentElement.scrollWidth") == SMALL["width"]
    assert demo.page.evaluate(_SMALL_TARGETS, [_TARGETS, MIN_TARGET_PX]) == []


def test_phone_has_the_result_above_the_controls(open_demo, running):
    demo = open_demo(running.url, viewport=SMALL)
    show_batch(demo)
    parts = ("#frame", "#status", "#download", "#batch", "#options", "#report")
    boxes = [demo.page.locator(part).bounding_box() for part in parts]

    tops = [box["y"] for box in boxes]
    assert tops == sorted(tops)


def test_states_differ_in_colours_of_the_system(open_demo, running):
    """Forced colours remove backgrounds, so that states need a colour of their own."""
    demo = open_demo(running.url, forced_colors="active")
    demo.open_folds()
    colours = demo.page.evaluate(
        """() => ['[name=output][value=cutout] + span', '[name=output][value=mask] + span',
            '[name=refine]', '[name=hard]']
          .map(selector => getComputedStyle(document.querySelector(selector)).backgroundColor)"""
    )
    selected, unselected, on, off = colours
    assert selected != unselected
    assert on != off
