"""Tiles along a mask's outline, for work computed at a reduced size and applied at full size.

A large photo costs little more than the pixels near its outline, and no more memory than a small
one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from silhouette_seg.vision.geometry import Size, resize

TILE_PIXELS = 384
"""Approximate side of a tile, in pixels.

Small tiles stay in the cache. But every call on a tile releases the interpreter lock and waits
for it again. With two photos in work, a cut-out of 1280x720 took 58 ms of processor time at 96
pixels. At 384 it took 47 ms.
"""
MIN_TILE_CELLS = 8
"""Minimum side of a tile, in cells. Smaller tiles would compute too much twice at their borders."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Division of a photo into square cells with sides of `factor` pixels.

    Each side of the photo has as many whole cells as fit, at least one.
    """

    photo_hw: Size
    factor: int

    @property
    def size_hw(self) -> Size:
        """Number of cells along the height and the width of the photo."""
        height, width = (max(1, side // self.factor) for side in self.photo_hw)
        return height, width

    def downsample(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Reduces an image of the photo's size, uint8 [H,W] or [H,W,3], to one value per cell.

        Returns uint8 [*size_hw] or [*size_hw,3]. Pixels beyond the last whole cell are cut off.
        """
        height, width = self.size_hw
        return resize(image[: height * self.factor, : width * self.factor], (height, width))


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangular block of cells, and the pixels of the photo that it covers.

    The last tile of a row or column also covers the pixels beyond the cells.
    """

    grid: Grid
    cells: tuple[slice, slice]
    """Slices of an array that `pad_cells` made: the tile's cells and a margin of one cell."""
    pixels: tuple[slice, slice]
    """Slices of the rows and columns of the photo."""

    def upsample(self, padded: NDArray[Any]) -> NDArray[Any]:
        """Enlarges the tile's cells bilinearly to one value for each of its pixels.

        `padded` is the result of `pad_cells` for the whole photo. Returns [h,w] or [h,w,c]. The
        values equal those of enlarging the whole array.
        """
        factor = self.grid.factor
        rows, columns = self.pixels
        block = padded[self.cells]
        if factor > 1:
            block = np.asarray(cv2.resize(block, None, fx=factor, fy=factor))
        return block[factor:, factor:][: rows.stop - rows.start, : columns.stop - columns.start]


def make_grid(photo_hw: Size, cells: int) -> Grid:
    """Divides a photo of (height, width) `photo_hw` into about `cells` cells along its longer side.

    The number is 2/3 to 4/3 of `cells` if the longer side has at least as many pixels.
    """
    return Grid(photo_hw, max(1, round(max(photo_hw) / cells)))


def pad_cells(values: NDArray[Any]) -> NDArray[Any]:
    """Pads an array [h,w] or [h,w,c] of values per cell to [h+3,w+3] or [h+3,w+3,c].

    The values at the edge are repeated once before and twice after them, as `Tile.upsample` needs
    it.
    """
    return cv2.copyMakeBorder(values, 1, 2, 1, 2, cv2.BORDER_REPLICATE)


def tiles_near(grid: Grid, marked: NDArray[np.uint8]) -> Iterator[Tile]:
    """Yields the tiles that contain a marked cell, or touch one at a side or corner.

    A cell is a square of `grid.factor` pixels, and a tile is a block of cells.
    `marked` is [*grid.size_hw], with a value other than 0 in marked cells.
    """
    near = pad_cells(marked)
    across = list(_spans(grid.size_hw[1], grid.photo_hw[1], grid.factor))
    for rows, pixel_rows in _spans(grid.size_hw[0], grid.photo_hw[0], grid.factor):
        if near[rows].any():
            for columns, pixel_columns in across:
                if near[rows, columns].any():
                    yield Tile(grid, (rows, columns), (pixel_rows, pixel_columns))


def _spans(cells: int, pixels: int, factor: int) -> Iterator[tuple[slice, slice]]:
    """Yields the tiles along one side of the photo, as slices of padded cells and slices of pixels.

    `cells` and `pixels` are the lengths of that side, and `factor` is the pixels of a cell.
    """
    step = max(MIN_TILE_CELLS, TILE_PIXELS // factor)
    for start in range(0, cells, step):
        stop = min(start + step, cells)
        end = pixels if stop == cells else stop * factor
        yield slice(start, stop + 2 + (stop == cells)), slice(start * factor, end)
