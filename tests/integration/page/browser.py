"""Starts Chromium, and opens pages of the demo in it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest

from tests.integration.page.demo_page import DemoPage

CHROMIUM = shutil.which("chromium")
INSECURE_HOST = "silhouette.test"
"""A name of this machine that browsers do not treat as localhost."""
FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-loopback-in-peer-connection",
    f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1",
)
GPU_FLAGS = (
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 812}

needs_browser = pytest.mark.skipif(
    CHROMIUM is None or find_spec("playwright") is None,
    reason="there is no chromium on PATH, or playwright is not installed",
)
BROWSER_MARKS = [pytest.mark.browser, needs_browser]
"""Marks of a module in which every test needs a browser."""


@contextmanager
def started_playwright() -> Iterator[Any]:
    """Yields Playwright. Its event loop occupies the thread: no test of asyncio runs meanwhile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@contextmanager
def launched_chromium(playwright: Any, *flags: str, has_gpu: bool = False) -> Iterator[Any]:
    """Yields a browser. Each page has its own profile.

    With `has_gpu`, SwiftShader draws as a graphics card does: the colours of video are exact.
    Without one, Chromium reduces the blue chroma of BT.709 by 5 %.
    """
    drawing = GPU_FLAGS if has_gpu else ("--disable-gpu",)
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM, headless=True, args=[*FLAGS, *drawing, *flags]
    )
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def demo_pages(chromium: Any) -> Iterator[Callable[..., DemoPage]]:
    """Yields a function that opens the page of a server.

    Its options are those of a browser context, and `browser` instead of `chromium`. The end checks
    that no page logged an error.
    """
    demos: list[DemoPage] = []

    def open_page(origin: str, *, browser: Any = None, **context: Any) -> DemoPage:
        settings = {"viewport": DESKTOP, "reduced_motion": "reduce"} | context
        profile = (browser or chromium).new_context(**settings)
        demo = DemoPage(profile.new_page(), origin)
        demos.append(demo)
        demo.open()
        return demo

    yield open_page
    for demo in demos:
        demo.page.context.close()
    assert [demo.errors for demo in demos] == [[]] * len(demos)
