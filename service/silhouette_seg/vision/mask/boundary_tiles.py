"""Tiles along a mask's outline, for work solved at a reduced size and applied at full size.

A large photo costs little more than the pixels near its outline, and no more memory than a
small one.
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
"""Minimum side of a tile, in cells. With fewer, too much is computed twice at tile borders."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A photo in square cells of `factor` pixels: as many whole cells as fit, at least one."""

    photo_hw: Size
    factor: int

    @property
    def size_hw(self) -> Size:
        """Number of cells along height and width."""
        height, width = (max(1, side // self.factor) for side in self.photo_hw)
        return height, width

    def downsample(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Reduces uint8 [H,W] or [H,W,3] to one value a cell; pixels beyond the cells are cut."""
        height, width = self.size_hw
        return resize(image[: height * self.factor, : width * self.factor], (height, width))


@dataclass(frozen=True, slots=True)
class Tile:
    """A block of cells and the pixels it covers.

    The last tile of a row or column also covers the pixels beyond the cells.
    """

    grid: Grid
    cells: tuple[slice, slice]
    """Rows and columns of an array that `pad_cells` made: the tile's cells and one around them."""
    pixels: tuple[slice, slice]
    """Rows and columns of the photo."""

    def upsample(self, padded: NDArray[Any]) -> NDArray[Any]:
        """Enlarges the tile's cells of a padded array to its pixels, bilinearly.

        The values equal those of enlarging the whole array.
        """
        factor = self.grid.factor
        rows, columns = self.pixels
        block = padded[self.cells]
        if factor > 1:
            block = np.asarray(cv2.resize(block, None, fx=factor, fy=factor))
        return block[factor:, factor:][: rows.stop - rows.start, : columns.stop - columns.start]


def make_grid(photo_hw: Size, cells: int) -> Grid:
    """Divides a photo into about `cells` cells along its longer side.

    The number is 2/3 to 4/3 of `cells` if the photo has as many pixels.
    """
    return Grid(photo_hw, max(1, round(max(photo_hw) / cells)))


def pad_cells(values: NDArray[Any]) -> NDArray[Any]:
    """Pads an array of one value (or a few) for each cell as `Tile.upsample` needs it."""
    return cv2.copyMakeBorder(values, 1, 2, 1, 2, cv2.BORDER_REPLICATE)


def tiles_near(grid: Grid, marked: NDArray[np.uint8]) -> Iterator[Tile]:
    """Yields the tiles that contain or touch a cell where `marked` [*grid.size_hw] is not 0."""
    near = pad_cells(marked)
    across = list(_spans(grid.size_hw[1], grid.photo_hw[1], grid.factor))
    for rows, pixel_rows in _spans(grid.size_hw[0], grid.photo_hw[0], grid.factor):
        if near[rows].any():
            for columns, pixel_columns in across:
                if near[rows, columns].any():
                    yield Tile(grid, (rows, columns), (pixel_rows, pixel_columns))


def _spans(cells: int, pixels: int, factor: int) -> Iterator[tuple[slice, slice]]:
    """Yields the tiles along one side, as slices of padded cells and of pixels."""
    step = max(MIN_TILE_CELLS, TILE_PIXELS // factor)
    for start in range(0, cells, step):
        stop = min(start + step, cells)
        end = pixels if stop == cells else stop * factor
        yield slice(start, stop + 2 + (stop == cells)), slice(start * factor, end)
