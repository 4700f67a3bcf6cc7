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

TILE_HEIGHT, MAX_TILE_WIDTH = 56, 512
"""Approximate height and largest width of a tile, in pixels.

The C library returns the memory of larger tiles to the system after each step. Its pages must then
be made again: 1,800 for the edges of 1280x720 with tiles of 112x1024, and 8 with these. Smaller
tiles make more calls, each of which releases the interpreter lock and waits for it again.
"""
MIN_TILE_CELLS = 8
"""Minimum height of a tile, in cells.

Lower tiles would compute too much twice at their borders.
"""
MAX_GAP_CELLS = 8
"""Largest number of columns far from the outline, in cells, that a tile spans."""


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
    """Yields tiles that together contain each marked cell and each cell that touches one.

    Cells touch at a side or a corner, and no two tiles overlap. `marked` is uint8 [*grid.size_hw],
    with a value other than 0 in marked cells.
    """
    near = np.asarray(cv2.dilate(marked, np.ones((3, 3), np.uint8)), np.uint8)
    (height, width), factor = grid.size_hw, grid.factor
    step = max(MIN_TILE_CELLS, TILE_HEIGHT // factor)
    max_width = max(MIN_TILE_CELLS, MAX_TILE_WIDTH // factor)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        rows, pixel_rows = _span(top, bottom, height, grid.photo_hw[0], factor)
        columns = np.flatnonzero(cv2.reduce(near[top:bottom], 0, cv2.REDUCE_MAX)).tolist()
        for left, right in _runs(columns, max_width):
            across, pixel_columns = _span(left, right, width, grid.photo_hw[1], factor)
            yield Tile(grid, (rows, across), (pixel_rows, pixel_columns))


def _runs(columns: list[int], max_width: int) -> Iterator[tuple[int, int]]:
    """Yields the runs, [start, stop), of ascending columns, at most `max_width` wide.

    A run ends before a gap of over MAX_GAP_CELLS.
    """
    if not columns:
        return
    start = last = columns[0]
    for column in columns:
        if column - last > MAX_GAP_CELLS + 1 or column - start >= max_width:
            yield start, last + 1
            start = column
        last = column
    yield start, last + 1


def _span(start: int, stop: int, cells: int, pixels: int, factor: int) -> tuple[slice, slice]:
    """Returns a range of cells along one side of the photo, [start, stop), as two slices.

    They are of padded cells, with a margin of one cell, and of pixels. `cells` and `pixels` are the
    lengths of that side, and `factor` is the pixels of a cell.
    """
    is_last = stop == cells
    end = pixels if is_last else stop * factor
    return slice(start, stop + 2 + is_last), slice(start * factor, end)
