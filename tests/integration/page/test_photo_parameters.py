"""The parameters of the page, compared with those of the API."""

import json

import pytest

from silhouette_seg.api.request.parameters import PARAMETERS
from tests.integration.page.browser import BROWSER_MARKS
from tests.integration.page.photos import one_person
from tests.support.images import make

pytestmark = BROWSER_MARKS

NOT_ON_THE_PAGE = {
    "domain": "only one model takes it, and derives it from the face; the others reject it",
    "require_foreground": "the page says that no person was found, and shows the empty mask",
}
"""Parameters of the API without a control, with the reason."""
NO_CHOICE = {("format", "jpg"): "another name of jpeg"}
"""Values of the API without a control, with the reason."""
_NAMES = """async outputs => {
  const { reportParameters } = await import('/web/photo/photo-options.js');
  const changed = {
    model: 'rcrnet', trimapBand: 2, background: 'colour', colour: '#123456', format: 'avif',
    person: 'dominant', lightWrap: 5, refine: false, decontaminate: false, threshold: 0.4, grow: 1,
    feather: 1, margin: 5, invert: true, layout: 'x:0.5', keepMetadata: true, masks: 'rle',
    faces: true,
  };
  return outputs.flatMap(output => reportParameters({ ...changed, output }).map(([name]) => name));
}"""
_VALUES = """name => [...document.querySelectorAll(`#options [name=${name}]`)]
  .map(({ value }) => value)"""


def test_page_has_a_control_for_each_parameter_of_the_api(demo):
    names = set(demo.page.evaluate(_NAMES, ["composite", "trimap"]))

    assert names == PARAMETERS.keys() - NOT_ON_THE_PAGE.keys()


@pytest.mark.parametrize("name", ["output", "format", "person", "masks"])
def test_page_has_a_choice_for_each_value_of_the_api(name, demo):
    values = {value for value in PARAMETERS[name].schema["enum"] if (name, value) not in NO_CHOICE}

    assert set(demo.page.evaluate(_VALUES, name)) - {""} == values


def test_avif_with_metadata_is_requested_and_shown(demo):
    demo.choose_photo(make("PNG", one_person()))
    demo.wait_for_result()
    demo.change(lambda: demo.select("format", "avif"))
    demo.toggle_fold("Metadata and report")
    demo.change(lambda: demo.page.get_by_label("Keep metadata").check())

    assert demo.last_request() == {"output": "cutout", "format": "avif", "keep_metadata": "true"}
    assert demo.result()[200, 100, 3] > 200
    assert "AVIF" in demo.page.inner_text("#facts")


def test_report_lists_people_as_polygons(demo):
    demo.choose_photo(make("PNG", one_person()), "group.png")
    demo.wait_for_result()
    demo.toggle_fold("Metadata and report")
    demo.select("masks", "polygon")
    with demo.page.expect_download() as saved:
        demo.page.get_by_role("button", name="Save report").click()

    report = json.loads(saved.value.path().read_text())
    assert saved.value.suggested_filename == "group-report.json"
    assert (report["output"], len(report["people"])) == ("cutout", 1)
    assert isinstance(report["people"][0]["segmentation"], list)
