"""Runs axe, the accessibility checker, on a page."""

from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import pytest

AXE_PACKAGE = "axe_playwright_python"
needs_axe = pytest.mark.skipif(
    find_spec(AXE_PACKAGE) is None, reason="axe-playwright-python is not installed"
)
_VIOLATIONS = """async () => (await axe.run(document, { resultTypes: ['violations'] })).violations
  .flatMap(({ id, nodes }) => nodes.map(
    ({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary}`))"""
_NEXT_FRAME = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def violations(page: Any) -> dict[str, list[str]]:
    """Returns the violations of a page by colour scheme, as rule, selector and reason."""
    found = {}
    page.evaluate(_axe_source())
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.evaluate(_NEXT_FRAME)  # scripts of the page follow the colour scheme
        found[scheme] = page.evaluate(_VIOLATIONS)
    return found


NO_VIOLATIONS: dict[str, list[str]] = {"light": [], "dark": []}


@cache
def _axe_source() -> str:
    return files(AXE_PACKAGE).joinpath("axe.min.js").read_text()
