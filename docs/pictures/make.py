"""Renders the pictures of the documents with the current service, and the samples of the page.

    python docs/pictures/make.py

The photos are free ones of scikit-image that show a person. They are the astronaut Eileen Collins
(NASA, public domain) and the camera operator by Lav Varshney (CC0). Behind her stands a rocket
(SpaceX, public domain). Needs the extra `dev`, and chromium for the picture of the page.
"""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from playwright.sync_api import sync_playwright
from skimage import data

from silhouette_seg.client import Client
from silhouette_seg.server.server import Server, bind
from silhouette_seg.settings import Settings

FOLDER = Path(__file__).resolve().parent
SAMPLES = FOLDER.parents[1] / "service/silhouette_seg/web/samples"
"""Folder of the sample photos of the page."""
PORTRAIT_CROP = slice(0, 270), slice(95, 365)
"""Rows and columns of the astronaut's head and shoulders."""
BLUE = "#20639b"
PICTURE_SIDE_PX = 340
"""Side of every picture of a strip, in pixels."""
GAP_PX = 8
CHECK_SIDE_PX = 17
"""Side of a checkerboard square, in pixels."""
STOP_TIMEOUT_S = 20

Pixels = NDArray[np.uint8]
"""RGB uint8 [H,W,3], or grey [H,W]."""


def main() -> None:
    for name, pixels in photos().items():
        save_jpeg(Image.fromarray(pixels).convert("RGB"), name, SAMPLES)
    with run_server() as url:
        for name, pixels in photos().items():
            pictures = photo_pictures(encode_png(pixels), url)
            save_jpeg(strip(pictures), name)
        asked_for = parameter_pictures(encode_png(photos()["portrait"]), url)
        save_jpeg(strip(asked_for), "asked_for")
        save_jpeg(strip(kind_pictures(encode_png(photos()["astronaut"]), url)), "kinds")
        save_jpeg(screenshot_page(url), "page")


def photos() -> dict[str, Pixels]:
    astronaut = np.asarray(data.astronaut())  # type: ignore[no-untyped-call]
    camera = np.asarray(data.camera())  # type: ignore[no-untyped-call]
    return {"portrait": astronaut[PORTRAIT_CROP], "astronaut": astronaut, "camera": camera}


@contextmanager
def run_server() -> Iterator[str]:
    """Runs a service and yields its URL; its client retries early requests."""
    with bind("127.0.0.1", 0) as listener:
        server = Server(Settings())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(STOP_TIMEOUT_S)


def photo_pictures(png: bytes, url: str) -> list[Image.Image]:
    """Returns the photo, its mask, its cut-out on a checkerboard, and its person on blue."""
    with Client(url) as client:
        mask = client.segment(png)
        cutout = client.segment(png, output="cutout")
        blue = client.segment(png, output="composite", background=BLUE)
    print(f"{mask.model}, domain {mask.domain}, confidence {mask.confidence:.2f}")
    photo, alpha, person, composite = (
        Image.open(BytesIO(body)) for body in (png, mask.body, cutout.body, blue.body)
    )
    return [photo, alpha, Image.alpha_composite(checkerboard(person.size), person), composite]


def parameter_pictures(png: bytes, url: str) -> list[Image.Image]:
    """Returns renderings of a photo for some parameters, in the order of docs/api.md."""
    rocket = encode_png(np.asarray(data.rocket()))  # type: ignore[no-untyped-call]
    twins = "x:0.3,scale:0.6;x:0.72,scale:0.6,flip:true"
    with Client(url) as client:
        made = [
            client.segment(png, output="composite", background="blur:6"),
            client.segment(png, output="composite", background=rocket),
            client.segment(png, output="composite", background=rocket, layout=twins),
            client.segment(png, output="cutout", invert=True),
        ]
    *composites, without = (Image.open(BytesIO(each.body)) for each in made)
    return [*composites, Image.alpha_composite(checkerboard(without.size), without)]


def kind_pictures(png: bytes, url: str) -> list[Image.Image]:
    """Returns mask, trimap, polygons and blurred faces of a photo, in the order of docs/api.md."""
    with Client(url) as client:
        polygons = client.segment(png, masks="polygon", faces=True)
        trimap = client.segment(png, output="trimap")
        faces = client.segment(png, output="composite", background="blur_faces")
    assert polygons.report is not None
    mask, levels, blurred = (
        Image.open(BytesIO(body)) for body in (polygons.body, trimap.body, faces.body)
    )
    return [mask, levels, outlined(png, polygons.report), blurred]


def outlined(png: bytes, report: dict[str, Any]) -> Image.Image:
    """Draws the polygons of the people, and the boxes of the faces, of a report on its photo."""
    photo = Image.open(BytesIO(png)).convert("RGB")
    draw = ImageDraw.Draw(photo)
    for person in report["people"]:
        for polygon in person["segmentation"]:
            draw.polygon(polygon, outline="#00ff66", width=3)
    for face in report["faces"]:
        top, left, width, height = (
            face["box"][side] for side in ("top", "left", "width", "height")
        )
        draw.rectangle((left, top, left + width, top + height), outline="#ffcc00", width=3)
    return photo


def checkerboard(size: tuple[int, int]) -> Image.Image:
    """Draws grey and white squares, the usual sign of transparency."""
    width, height = size
    board = Image.new("RGBA", size, "white")
    for top in range(0, height, CHECK_SIDE_PX):
        for left in range(top // CHECK_SIDE_PX % 2 * CHECK_SIDE_PX, width, 2 * CHECK_SIDE_PX):
            board.paste("#cccccc", (left, top, left + CHECK_SIDE_PX, top + CHECK_SIDE_PX))
    return board


def strip(pictures: list[Image.Image]) -> Image.Image:
    """Joins square pictures side by side."""
    width = len(pictures) * (PICTURE_SIDE_PX + GAP_PX) - GAP_PX
    paper = Image.new("RGB", (width, PICTURE_SIDE_PX), "white")
    for place, picture in enumerate(pictures):
        small = picture.convert("RGB").resize(
            (PICTURE_SIDE_PX, PICTURE_SIDE_PX), Image.Resampling.LANCZOS
        )
        paper.paste(small, (place * (PICTURE_SIDE_PX + GAP_PX), 0))
    return paper


def screenshot_page(url: str) -> Image.Image:
    """Takes a screenshot of the page at `/`, with the astronaut and the slider in the middle."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        seen = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
        seen.goto(url)
        astronaut = encode_png(photos()["astronaut"])
        seen.set_input_files(
            "#photo", {"name": "astronaut.png", "mimeType": "image/png", "buffer": astronaut}
        )
        seen.wait_for_selector("main[data-state=done]")
        shot = seen.screenshot()
        browser.close()
    return Image.open(BytesIO(shot)).convert("RGB")


def save_jpeg(image: Image.Image, name: str, folder: Path = FOLDER) -> None:
    image.save(folder / f"{name}.jpg", quality=85, optimize=True, progressive=True)


def encode_png(pixels: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()
