"""A person's visit to the page: what they do, what they see, and what the browser thinks of it."""

import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 60_000

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
_HAND_OVER = """([kind, name, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/png' }));
  const event = kind === 'paste'
    ? new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true })
    : new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""
_REMEMBER_FORMS = """() => {
  const send = window.fetch;
  window.forms = [];
  window.fetch = (path, request) => {
    if (request?.body instanceof FormData) window.forms.push([...request.body]);
    return send(path, request);
  };
}"""
_NEWEST_FORM = """() => Object.fromEntries(
  window.forms.at(-1).filter(([, value]) => typeof value === 'string'))"""
_NEW_RESULT = """before => document.querySelector('main').dataset.state === 'done'
  && document.querySelector('#after').src !== before"""


@dataclass
class Visit:
    """`page` is playwright's, of a fresh profile; `complaints` has to stay empty."""

    page: Any
    origin: str
    complaints: list[str] = field(default_factory=list)

    def begin(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._expect_home)
        self.page.add_init_script(f"({_REMEMBER_FORMS})()")
        self.page.goto(f"{self.origin}/")

    def choose(self, content: bytes, name: str = "portrait.png") -> None:
        file = {"name": name, "mimeType": "image/png", "buffer": content}
        self.page.set_input_files("#photo", file)

    def hand_over(self, kind: Literal["paste", "drop"], content: bytes, name: str) -> None:
        self.page.evaluate(_HAND_OVER, [kind, name, list(content)])

    def finished(self) -> None:
        """Waits until the newest request was answered with an image."""
        self.page.wait_for_selector("main[data-state=done]")

    def change(self, act: Callable[[], object]) -> None:
        """Does something that sends the photo again, and waits for the new result."""
        before = self.page.get_attribute("#after", "src")
        act()
        self.page.wait_for_function(_NEW_RESULT, arg=before)

    def pick(self, name: str, value: str) -> None:
        """One of several, by the label that a person would press."""
        self.page.locator(f"label:has([name={name}][value={value}])").click()

    def slide(self, label: str, value: int) -> None:
        """Moves a slider there, and waits for the new result."""
        slider = self.page.get_by_role("slider", name=label, exact=True)
        self.change(lambda: slider.fill(str(value)))

    def sent(self) -> dict[str, str]:
        """What the newest request said beside its files; the browser does not tell of itself."""
        said: dict[str, str] = self.page.evaluate(_NEWEST_FORM)
        return said

    def offer_key(self, key: str) -> None:
        self.page.get_by_label("This server requires an API key").fill(key)
        self.page.get_by_role("button", name="Use key").click()

    def result(self) -> NDArray[np.uint8]:
        """The result as the browser decoded it: uint8 [H,W,4]."""
        read = self.page.eval_on_selector("#after", _READ_PIXELS)
        rgba = np.frombuffer(b64decode(read["base64"]), np.uint8)
        return rgba.reshape(read["height"], read["width"], 4)

    def hidden_share(self) -> float:
        """How much of the photo the slider cuts off, in percent, as the browser computed it."""
        style = self.page.eval_on_selector(".before", "layer => getComputedStyle(layer).clipPath")
        share = re.fullmatch(r"inset\(0px (?:([\d.]+)%|0px) 0px 0px\)", style)
        assert share, style
        return float(share[1] or 0)

    def refused(self, status: int, *, times: int = 1) -> None:
        """The browser logs an answer over 399; here so many are expected."""
        logged = [text for text in self.complaints if f"status of {status}" in text]
        assert len(logged) == times
        self.complaints[:] = [text for text in self.complaints if text not in logged]

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _expect_home(self, request: Any) -> None:
        if not request.url.startswith((self.origin, "blob:")):
            self.complaints.append(f"asked elsewhere: {request.url}")
