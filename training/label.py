"""Labels the unlabelled photos of a data pack with a trained teacher.

    python -m training.label RECIPE.toml RUNS/NAME/last.pt MASKS --data DATA

The teacher runs on each photo at several sizes, upright and mirrored. It runs again on enlarged
crops of small people. The mean of its probabilities becomes `MASKS/<source>/<id>.png`, uint8 at the
size of the photo. Views that disagree give values between 0 and 255, which training ignores. The
pack's selfie mask is one more view if it is good, see `--agreement`. A photo with a mask is
skipped, so that an interrupted run can be continued.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from silhouette_seg.vision.geometry import Size, resize
from training.data.dataset import read_frame, read_rows
from training.data.samples import channels_first
from training.options import DataPack
from training.recipe import Recipe, TeacherSettings, check_recipe, read_recipe
from training.tasks.teacher import Teacher, mean_mask

Probability = NDArray[np.float32]
"""Probability of person, float32 [H,W] in 0..1."""
Image = NDArray[np.uint8]
Box = tuple[slice, slice]
"""Rows and columns of a photo."""

SMALL_PIECE_SHARE = 0.4
"""Share of the photo's sides below which a piece of person is enlarged."""
MIN_PIECE_AREA_SHARE = 0.0008
"""Smallest area of a piece as a share of the photo; smaller pieces are noise."""
CROP_MARGIN_SHARE = 0.6
"""Margin of the enlarged crop around a box, as a share of the longer side of the box."""
MAX_CROPS = 6
"""Largest number of enlarged crops of a photo; each costs as much as the photo."""
SELFIE_WEIGHT = 0.5
"""Weight of a good selfie mask in the mean."""


def load_views(recipe: Recipe, checkpoint: Path, sizes: Sequence[Size]) -> list[Teacher]:
    """Loads the teacher at each size, with mirrored views; raises OSError without the file."""
    return [
        Teacher(
            TeacherSettings(
                model=recipe.model,
                options=recipe.options,
                weights=checkpoint,
                size_hw=size_hw,
                mirrored=True,
            )
        )
        for size_hw in sizes
    ]


def person_probability(views: Sequence[Teacher], rgb: Image) -> Probability:
    """Returns the mean of all views of a photo uint8 [H,W,3], with small people enlarged."""
    probability = _mean_probability(views, rgb)
    for inner, outer in small_boxes(probability):
        outer_probability = _mean_probability(views, np.ascontiguousarray(rgb[outer]))
        top, left = inner[0].start - outer[0].start, inner[1].start - outer[1].start
        height, width = inner[0].stop - inner[0].start, inner[1].stop - inner[1].start
        inner_probability = outer_probability[top : top + height, left : left + width]
        probability[inner] = (probability[inner] + inner_probability) / 2
    return probability


def small_boxes(probability: Probability) -> list[tuple[Box, Box]]:
    """Returns the box of each small piece and the box with its margin, the largest piece first.

    Both boxes are inside the photo, and the first is inside the second.
    """
    photo_height, photo_width = probability.shape
    person = (probability > 0.5).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(person, connectivity=8)
    pieces = []
    for left, top, width, height, area in stats[1:count].tolist():
        if (
            area >= MIN_PIECE_AREA_SHARE * person.size
            and max(height / photo_height, width / photo_width) < SMALL_PIECE_SHARE
        ):
            pieces.append((area, top, left, height, width))
    boxes = []
    for _, top, left, height, width in sorted(pieces, reverse=True)[:MAX_CROPS]:
        margin = round(CROP_MARGIN_SHARE * max(height, width))
        inner = _box(top, left, height, width, max(2, margin // 4), (photo_height, photo_width))
        outer = _box(top, left, height, width, max(8, margin), (photo_height, photo_width))
        boxes.append((inner, outer))
    return boxes


def blend_selfie(probability: Probability, selfie: Image) -> Probability:
    """Returns the mean with the selfie mask uint8 [h,w]; it is uncertain where the two disagree."""
    height, width = probability.shape
    resized = resize(selfie, (height, width)).astype(np.float32) / np.float32(255)
    blended: Probability = (1 - SELFIE_WEIGHT) * probability + SELFIE_WEIGHT * resized
    return blended


def _mean_probability(views: Sequence[Teacher], rgb: Image) -> Probability:
    photos = channels_first(rgb)[None]
    domain = torch.zeros(1, dtype=torch.int64)
    mask: Tensor = mean_mask(views, photos, domain)
    return np.asarray(mask[0].numpy(), np.float32)


def _box(top: int, left: int, height: int, width: int, margin: int, photo_hw: Size) -> Box:
    """Returns a box with a margin, clipped to the photo."""
    return (
        slice(max(0, top - margin), min(photo_hw[0], top + height + margin)),
        slice(max(0, left - margin), min(photo_hw[1], left + width + margin)),
    )


def label(data: Path, masks: Path, views: Sequence[Teacher], agreement: float) -> int:
    """Writes the missing masks and returns their number; raises OSError without an index."""
    unlabelled = data / "unlabelled"
    rows = [
        row
        for row in read_rows(unlabelled / "index2.csv")
        if not (masks / row["source"] / f"{row['id']}.png").exists()
    ]
    for row in track(rows, "labelling", console=Console(stderr=True), transient=True):
        folder = unlabelled / row["source"]
        rgb = read_frame(folder / "images" / f"{row['id']}.jpg").rgb
        probability = person_probability(views, rgb)
        if float(row["agreement"] or 0) >= agreement:
            selfie = cv2.imread(str(folder / "selfie" / f"{row['id']}.png"), cv2.IMREAD_GRAYSCALE)
            if selfie is None:
                raise FileNotFoundError(f"{row['id']} has no selfie mask")
            probability = blend_selfie(probability, np.asarray(selfie, np.uint8))
        file = masks / row["source"] / f"{row['id']}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        # The rename is atomic, so that an interrupted run leaves no partial file.
        temporary = file.with_suffix(".new.png")
        cv2.imwrite(str(temporary), np.rint(probability * 255).astype(np.uint8))
        temporary.replace(file)
    return len(rows)


def main(
    recipe: Annotated[
        Path,
        typer.Argument(help="Recipe of the teacher: a file or its name.", callback=check_recipe),
    ],
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of the teacher.")],
    masks: Annotated[Path, typer.Argument(help="Folder for the masks.")],
    data: DataPack,
    side: Annotated[
        list[int] | None,
        typer.Option(help="Side of a square view in pixels; 256 and 320 by default."),
    ] = None,
    agreement: Annotated[
        float,
        typer.Option(help="Smallest IoU at which the pack's selfie mask counts as a view."),
    ] = 0.9,
    threads: Annotated[int, typer.Option(help="Number of threads of torch.")] = 1,
) -> None:
    """Labels the unlabelled photos with a teacher."""
    torch.set_num_threads(threads)
    sizes = [(length, length) for length in side or (256, 320)]
    views = load_views(read_recipe(recipe), checkpoint, sizes)
    written = label(data, masks, views, agreement)
    typer.echo(f"{written} masks written to {masks}")


if __name__ == "__main__":
    typer.run(main)
