"""Renders photos as the service cuts them out, on sheets by distance domain.

    python -m training.report.gallery --data DATA

The photos are those of the data pack's val split, and skimage's, which need no pack. The sheets
hold the pack's photos, so their folder is ignored by git.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from skimage import data as bundled

from silhouette_seg.engine import open_engine
from silhouette_seg.pipeline.faces import Domain
from silhouette_seg.pipeline.options import (
    PHOTO_DEFAULTS,
    Background,
    Blur,
    Colour,
    Output,
    Refinement,
    RenderOptions,
)
from silhouette_seg.pipeline.registry import load_registry
from silhouette_seg.pipeline.rendering import render_image
from silhouette_seg.pipeline.segmenter import Matte, Segmenter
from silhouette_seg.runtime.thread_pool import ThreadPool
from silhouette_seg.vision.codec.decode import Frame, decode
from silhouette_seg.vision.codec.encode import encode
from silhouette_seg.vision.codec.formats import read_header
from silhouette_seg.vision.codec.header import ImageFormat
from silhouette_seg.vision.geometry import Size, resize
from silhouette_seg.vision.mask.quality import bounding_box
from training.data.dataset import Portrait, read_portraits
from training.options import DEFAULT_REPOSITORY, Repository

PHOTO_HEIGHT_PX = 300
"""Height of every photo of a sheet, in pixels."""
CROP_SIDE_PX = 240
"""Side of a crop in pixels; a crop is not scaled."""
GAP_PX = 6
TEXT_HEIGHT_PX = 22
"""Height of a line of text, in pixels."""
PAPER_LEVEL = 245
JPEG_QUALITY = 92
BUNDLED = "skimage"
"""Name of the sheet of photos that need no pack."""

WHITE, MAGENTA = Colour((255, 255, 255)), Colour((255, 0, 255))

Image = NDArray[np.uint8]
"""RGB, uint8 [h,w,3]."""


def _composite_on(background: Background, options: RenderOptions = PHOTO_DEFAULTS) -> RenderOptions:
    return replace(options, output=Output.COMPOSITE, background=background)


RENDER_OPTIONS: dict[str, RenderOptions] = {
    "mask": PHOTO_DEFAULTS,
    "cut-out on white": _composite_on(WHITE),
    "cut-out on magenta": _composite_on(MAGENTA),
    "blurred background": _composite_on(Blur(3.0)),
}
MODEL_ONLY = replace(PHOTO_DEFAULTS, refine=Refinement.NONE, decontaminate=False)
EDGE_OPTIONS: dict[str, RenderOptions] = {
    "the model alone": _composite_on(MAGENTA, MODEL_ONLY),
    "refine": _composite_on(MAGENTA, replace(MODEL_ONLY, refine=Refinement.GUIDED)),
    "decontaminate": _composite_on(MAGENTA, replace(MODEL_ONLY, decontaminate=True)),
    "both": _composite_on(
        MAGENTA, replace(MODEL_ONLY, refine=Refinement.GUIDED, decontaminate=True)
    ),
}
"""Renderings of the edge, on the colour that shows rests of the old background best."""


@dataclass(frozen=True, slots=True)
class GalleryPhoto:
    """An image file with the name of its sheet."""

    name: str
    sheet: str
    data: bytes


@dataclass(frozen=True, slots=True)
class SheetRow:
    """Row of a sheet: pictures of one height, with a caption below."""

    sheet: str
    caption: str
    pictures: dict[str, Image]


def main(
    data: Annotated[Path | None, typer.Option(help="Folder of the data pack.")] = None,
    repository: Repository = DEFAULT_REPOSITORY,
    out: Annotated[Path, typer.Option(help="Folder of the sheets, which git ignores.")] = Path(
        "build/gallery/photos"
    ),
    per_domain: Annotated[
        int, typer.Option("--each", min=1, help="Number of photos per domain.")
    ] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the choice of photos.")] = 0,
) -> None:
    """Writes a JPEG for every sheet, and one of edge crops."""
    photos = bundled_photos()
    if data is None or not (data / "people" / "index.csv").exists():
        print("photos of the data pack are left out: --data names no folder with people/index.csv")
    else:
        photos += pack_photos(choose_portraits(read_portraits(data, "val"), per_domain, seed))
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in group_by_sheet(asyncio.run(render_rows(photos, repository))).items():
        file = out / f"{name}.jpg"
        file.write_bytes(jpeg(draw_sheet(rows)))
        print(f"{file}: {', '.join(row.caption.split()[0] for row in rows)}")


def bundled_photos() -> list[GalleryPhoto]:
    """Returns skimage's photos of people, one in colour and one in grey."""
    pixels = {"astronaut": bundled.astronaut(), "camera": bundled.camera()}  # type: ignore[no-untyped-call]
    return [
        GalleryPhoto(name, BUNDLED, encode(np.asarray(image, np.uint8), ImageFormat.PNG))
        for name, image in pixels.items()
    ]


def choose_portraits(portraits: Sequence[Portrait], count: int, seed: int) -> list[Portrait]:
    """Chooses the same number of photos per reference domain, from as many sources as possible."""
    chosen: list[Portrait] = []
    for domain in Domain:
        candidates = [portrait for portrait in portraits if portrait.domain is domain]
        order = np.random.default_rng([seed, domain]).permutation(len(candidates))
        chosen += _interleave_sources([candidates[index] for index in order])[:count]
    return chosen


def _interleave_sources(portraits: Sequence[Portrait]) -> list[Portrait]:
    """Orders portraits: the first of every source, then the second of every source, and so on."""
    counts: Counter[str] = Counter()
    ranked: list[tuple[int, Portrait]] = []
    for portrait in portraits:
        ranked.append((counts[portrait.source], portrait))
        counts[portrait.source] += 1
    return [portrait for _, portrait in sorted(ranked, key=lambda pair: pair[0])]


def pack_photos(portraits: Sequence[Portrait]) -> list[GalleryPhoto]:
    """Reads the files of portraits; the sheet of a photo is its domain."""
    return [
        GalleryPhoto(portrait.id, portrait.domain.label, portrait.image.read_bytes())
        for portrait in portraits
    ]


async def render_rows(photos: Sequence[GalleryPhoto], repository: Path) -> list[SheetRow]:
    """Returns two rows for each photo, rendered with the service's default model for photos."""
    workers = ThreadPool(1)
    registry = load_registry(
        repository, None, workers, lambda spec: open_engine("onnx", spec, repository)
    )
    tracked_photos = track(photos, "photos", console=Console(stderr=True), transient=True)
    try:
        segmenter = registry.get()
        return [
            row
            for photo in tracked_photos
            for row in await segmenter.run(GalleryTask(photo, segmenter))
        ]
    finally:
        await registry.close()
        workers.close()


@dataclass(frozen=True, slots=True)
class GalleryTask:
    """Frame task of a photo; it returns a row of whole images and a row of edges."""

    photo: GalleryPhoto
    segmenter: Segmenter

    def decode(self, min_size: Size) -> Frame:
        """Decodes the photo at its full size."""
        return decode(self.photo.data, read_header(self.photo.data))

    def render(self, frame: Frame, matte: Matte) -> tuple[SheetRow, SheetRow]:
        """Renders every entry of `RENDER_OPTIONS`, and the edges of `EDGE_OPTIONS`."""
        caption = f"{self.photo.name}  {_caption(frame, matte, self.segmenter)}"
        window = edge_window(matte.alpha, CROP_SIDE_PX)
        whole = {
            name: _scale(_render(options, frame, matte)) for name, options in RENDER_OPTIONS.items()
        }
        edges = {
            name: _render(options, frame, matte)[window] for name, options in EDGE_OPTIONS.items()
        }
        sheet = self.photo.sheet
        return (
            SheetRow(sheet, caption, {"photo": _scale(frame.rgb)} | whole),
            SheetRow(f"{sheet}_edges", caption, {"photo": frame.rgb[window]} | edges),
        )


def _caption(frame: Frame, matte: Matte, segmenter: Segmenter) -> str:
    """Returns the measured values of a photo as a caption."""
    height, width = frame.photo_hw
    quality, decision = matte.quality, matte.decision
    domain = f"as {decision.domain.label}, " if decision else ""
    confidence = quality.confidence
    certainty = "" if confidence is None else f", confidence {100 * confidence:.0f} %"
    face = f"face {100 * decision.face.ratio:.1f} %, " if decision and decision.face else ""
    return (
        f"{width}x{height}  {segmenter.spec.name} {domain}{face}"
        f"coverage {100 * quality.coverage:.0f} %, pieces {quality.piece_count}{certainty}"
    )


def _render(options: RenderOptions, frame: Frame, matte: Matte) -> Image:
    """Renders the photo at its own size."""
    image = render_image(options, replace(frame, rgb=frame.rgb.copy()), None, matte).image
    return image if image.ndim == 3 else np.dstack([image] * 3)


def _scale(image: Image) -> Image:
    height, width = image.shape[:2]
    return resize(image, (PHOTO_HEIGHT_PX, max(1, round(width * PHOTO_HEIGHT_PX / height))))


def edge_window(alpha: NDArray[np.uint8], side: int) -> tuple[slice, slice]:
    """Returns the window with most partially covered pixels in the upper half of the person: hair.

    `alpha` is uint8 [H,W]. Without partial pixels the window is in the middle of the photo. A photo
    smaller than `side` is returned whole.
    """
    height, width = alpha.shape
    uncertain = ((alpha > 12) & (alpha < 243)).astype(np.float32)
    if box := bounding_box(alpha):
        uncertain[box.top + box.height // 2 :] = 0
    rows, columns = min(side, height), min(side, width)
    sums = cv2.boxFilter(
        uncertain, cv2.CV_32F, (columns, rows), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    # The filter is centred: keep only the windows that lie within the photo.
    inside = sums[rows // 2 : rows // 2 + height - rows + 1]
    inside = inside[:, columns // 2 : columns // 2 + width - columns + 1]
    # The middle one of several equal windows.
    best = np.argwhere(inside >= inside.max() - 0.5)
    top, left = (round(position) for position in best.mean(axis=0).tolist())
    return slice(top, top + rows), slice(left, left + columns)


def group_by_sheet(rows: Sequence[SheetRow]) -> dict[str, list[SheetRow]]:
    """Groups rows by their sheet, in order of first occurrence."""
    sheets: dict[str, list[SheetRow]] = {}
    for row in rows:
        sheets.setdefault(row.sheet, []).append(row)
    return sheets


def draw_sheet(rows: Sequence[SheetRow]) -> Image:
    """Draws a contact sheet: rows of pictures with their captions, one below the other."""
    images = [_with_caption(_side_by_side(row.pictures), row.caption) for row in rows]
    width = max(image.shape[1] for image in images)
    return np.vstack([_pad_width(image, width) for image in images])


def _side_by_side(pictures: Mapping[str, Image]) -> Image:
    cells = list(_cells(pictures))
    return np.hstack(cells[:-1])


def _cells(pictures: Mapping[str, Image]) -> Iterator[Image]:
    """Yields each picture below its name, and a gap after it."""
    for name, picture in pictures.items():
        cell = np.vstack([_text(name, picture.shape[1]), picture])
        yield cell
        yield _paper(cell.shape[0], GAP_PX)


def _with_caption(row: Image, caption: str) -> Image:
    """Adds the caption; the row becomes at least as wide as the text."""
    width = max(row.shape[1], _text_width(caption))
    words = _text(caption, width)
    return np.vstack([_pad_width(row, width), words, _paper(2 * GAP_PX, width)])


def _pad_width(image: Image, width: int) -> Image:
    return np.hstack([image, _paper(image.shape[0], width - image.shape[1])])


def _paper(height: int, width: int) -> Image:
    return np.full((height, width, 3), PAPER_LEVEL, np.uint8)


def _text_width(words: str) -> int:
    (width, _), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    return width + 2 * GAP_PX


def _text(words: str, width: int) -> Image:
    """Draws a line of ASCII text."""
    line = _paper(TEXT_HEIGHT_PX, width)
    baseline_left = GAP_PX, TEXT_HEIGHT_PX - 7
    cv2.putText(
        line, words, baseline_left, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (20, 20, 20), 1, cv2.LINE_AA
    )
    return line


def jpeg(image: Image) -> bytes:
    """Encodes an RGB image uint8 [H,W,3] as JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    is_encoded, file = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    assert is_encoded
    return file.tobytes()


if __name__ == "__main__":
    typer.run(main)
