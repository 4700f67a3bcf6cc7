"""Page object for the demo page: actions of a user, and the state of the page."""

import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

TIMEOUT_MS = 60_000

_READ_PIXELS = """async image => {
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  const url = await new Promise(resolve => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(new Blob([pixels.data]));
  });
  return { width: canvas.width, height: canvas.height, base64: url.split(',')[1] };
}"""
_TRANSFER_FILES = """([kind, files]) => {
  const transfer = new DataTransfer();
  for (const [name, bytes] of files)
    transfer.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/png' }));
  const event = kind === 'paste'
    ? new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true })
    : new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""
_RECORD_FORMS = """() => {
  const send = window.fetch;
  window.forms = [];
  window.fetch = (path, request) => {
    if (request?.body instanceof FormData) window.forms.push([...request.body]);
    return send(path, request);
  };
}"""
_LAST_FORM = """() => Object.fromEntries(
  window.forms.at(-1).filter(([, value]) => typeof value === 'string'))"""
_NEW_RESULT = """before => document.querySelector('main').dataset.state === 'done'
  && document.querySelector('#after').src !== before"""


@dataclass
class DemoPage:
    """The demo page in a browser with a fresh profile.

    `page` is the page of Playwright. `errors` collects console messages and outside requests; tests
    expect it to be empty.
    """

    page: Any
    origin: str
    errors: list[str] = field(default_factory=list)

    def open(self) -> None:
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.on("console", self._record_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._record_outside_request)
        self.page.add_init_script(f"({_RECORD_FORMS})()")
        self.page.goto(f"{self.origin}/")

    def choose_photo(self, content: bytes, name: str = "portrait.png") -> None:
        file = {"name": name, "mimeType": "image/png", "buffer": content}
        self.page.set_input_files("#photo", file)

    def transfer_files(self, kind: Literal["paste", "drop"], files: dict[str, bytes]) -> None:
        """Pastes or drops files, which are bytes by name."""
        self.page.evaluate(_TRANSFER_FILES, [kind, [[n, list(b)] for n, b in files.items()]])

    def choose_photos(self, files: dict[str, bytes]) -> None:
        """Chooses several files, which are bytes by name."""
        self.page.set_input_files(
            "#photo", [{"name": n, "mimeType": "image/png", "buffer": b} for n, b in files.items()]
        )

    def wait_for_batch(self) -> None:
        """Waits until every photo of the batch has a result or a problem."""
        self.page.wait_for_selector("#batch[data-state=done]")

    def wait_for_result(self) -> None:
        """Waits until the newest request has a result."""
        self.page.wait_for_selector("main[data-state=done]")

    def change(self, action: Callable[[], object]) -> None:
        """Does an action that sends the photo again, and waits for the new result."""
        before = self.page.get_attribute("#after", "src")
        action()
        self.page.wait_for_function(_NEW_RESULT, arg=before)

    def toggle_fold(self, name: str) -> None:
        """Opens or closes a group of options by a click on its name."""
        self.page.locator("summary").get_by_text(name, exact=True).click()

    def open_folds(self) -> None:
        """Opens all folded groups of options."""
        self.page.eval_on_selector_all("details", "all => all.forEach(e => { e.open = true; })")

    def select(self, name: str, value: str) -> None:
        """Selects a radio button by a click on its label."""
        self.page.locator(f"label:has([name={name}][value={value}])").click()

    def set_slider(self, label: str, value: int) -> None:
        """Moves a slider and waits for the new result."""
        slider = self.page.get_by_role("slider", name=label, exact=True)
        self.change(lambda: slider.fill(str(value)))

    def last_request(self) -> dict[str, str]:
        """Returns the text fields of the newest request, as recorded by the page."""
        fields: dict[str, str] = self.page.evaluate(_LAST_FORM)
        return fields

    def submit_key(self, key: str) -> None:
        self.page.get_by_label("This server requires an API key").fill(key)
        self.page.get_by_role("button", name="Use key").click()

    def result(self) -> NDArray[np.uint8]:
        """Returns the result as decoded by the browser, uint8 [h,w,4]."""
        read = self.page.eval_on_selector("#after", _READ_PIXELS)
        rgba = np.frombuffer(b64decode(read["base64"]), np.uint8)
        return rgba.reshape(read["height"], read["width"], 4)

    def hidden_percent(self) -> float:
        """Returns the percentage of the photo that the slider hides, from the computed style."""
        style = self.page.eval_on_selector(".before", "layer => getComputedStyle(layer).clipPath")
        share = re.fullmatch(r"inset\(0px (?:([\d.]+)%|0px) 0px 0px\)", style)
        assert share, style
        return float(share[1] or 0)

    def expect_http_error(self, status: int, *, times: int = 1) -> None:
        """Expects and removes the console messages of responses with an error status."""
        logged = [text for text in self.errors if f"status of {status}" in text]
        assert len(logged) == times
        self.errors[:] = [text for text in self.errors if text not in logged]

    def expect_refused_connections(self) -> None:
        """Expects and removes the console messages of requests to a server that has stopped."""
        logged = [text for text in self.errors if "ERR_CONNECTION_REFUSED" in text]
        assert logged
        self.errors[:] = [text for text in self.errors if text not in logged]

    def _record_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _record_outside_request(self, request: Any) -> None:
        if not request.url.startswith((self.origin, "blob:")):
            self.errors.append(f"outside request: {request.url}")
