"""Page object for the live tab: actions of a user, and the state of the stream."""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.integration.conftest import OnSocket
from tests.integration.page.demo_page import DemoPage

TRANSPORTS = ("websocket", "webrtc")
TOLERANCE_LEVELS = 28
"""Largest error of JPEG and VP8 in a flat colour, in levels of 0..255."""
_POINT_HAS_COLOUR = """([[x, y], colour, tolerance]) => {
  const view = document.querySelector('#live-result > *');
  const width = view?.videoWidth ?? view?.width, height = view?.videoHeight ?? view?.height;
  if (!width) return false;
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 480 });
  const context = canvas.getContext('2d');
  context.drawImage(view, 0, 0, 640, 480);
  window.lastPixel = [...context.getImageData(x, y, 1, 1).data];
  return colour.every((level, i) => Math.abs(level - window.lastPixel[i]) <= tolerance);
}"""


@dataclass
class LivePage:
    """The live tab of a page, and the server that it uses."""

    demo: DemoPage
    running: OnSocket

    @property
    def page(self) -> Any:
        return self.demo.page

    def start(self) -> None:
        self.page.get_by_role("button", name="Start the camera").click()

    def wait_live(self) -> None:
        self.page.wait_for_selector("#live[data-state=live]")

    def wait_off(self) -> None:
        """Waits until the camera is closed and the server has released the stream."""
        self.page.wait_for_selector("#live[data-state=off]", state="attached")
        assert self.camera_is_off()
        self.running.wait(self.no_streams)

    def camera_is_off(self) -> bool:
        return self.page.evaluate("document.querySelector('#camera').srcObject") is None

    def select(self, name: str, value: str) -> None:
        self.demo.select(name, value)

    def wait_for_colour(self, point: tuple[int, int], colour: tuple[int, int, int]) -> None:
        """Waits until the result has a colour at a point."""
        from playwright.sync_api import TimeoutError

        try:
            self.page.wait_for_function(
                _POINT_HAS_COLOUR, arg=[point, colour, TOLERANCE_LEVELS], polling=50
            )
        except TimeoutError:
            last = self.page.evaluate("window.lastPixel")
            text = self.page.inner_text("#live")
            pytest.fail(f"{point} is {last}, not {colour}; text of the page: {text}")

    def alert(self) -> str:
        shown = self.page.get_by_role("alert")
        shown.wait_for()
        return str(shown.inner_text())

    def no_streams(self) -> bool:
        metrics = httpx.get(f"{self.running.url}/metrics").text
        none = (f'silhouette_streams{{transport="{transport}"}} 0.0' for transport in TRANSPORTS)
        return all(line in metrics for line in none)
