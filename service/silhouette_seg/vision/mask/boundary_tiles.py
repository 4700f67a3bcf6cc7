"""Work along a mask's outline: found and solved at a reduced size, applied tile by tile.

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
"""Pixels along a tile's side, about. Small ones stay in the cache, but every call on one lets other
threads in and then waits for its turn: with two photos in work, a cut-out of 1280x720 took 58 ms of
processor time at 96 and 47 at this.
"""
MIN_TILE_CELLS = 8
"""Along a tile's side; with fewer, too much is done twice where tiles meet."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A photo in square cells of `factor` pixels, as many as are whole but at least one."""

    photo_hw: Size
    factor: int

    @property
    def size_hw(self) -> Size:
        height, width = (max(1, side // self.factor) for side in self.photo_hw)
        return height, width

    def downsample(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The photo's uint8 [H,W] or [H,W,3], one value a cell; what no cell covers is left out."""
        height, width = self.size_hw
        return resize(image[: height * self.factor, : width * self.factor], (height, width))


@dataclass(frozen=True, slots=True)
class Tile:
    """Some cells, and the pixels they cover; the last ones also cover what is left of the photo."""

    grid: Grid
    cells: tuple[slice, slice]
    """Of an array that `pad` made: with one more on each side."""
    pixels: tuple[slice, slice]

    def upsample(self, padded: NDArray[Any]) -> NDArray[Any]:
        """Bilinearly to the tile's pixels, and to the same as the whole array would give."""
        factor = self.grid.factor
        rows, columns = self.pixels
        block = padded[self.cells]
        if factor > 1:
            block = np.asarray(cv2.resize(block, None, fx=factor, fy=factor))
        return block[factor:, factor:][: rows.stop - rows.start, : columns.stop - columns.start]


def make_grid(photo_hw: Size, long_side: int) -> Grid:
    """About `long_side` cells along the longer side: from 2/3 to 4/3 of it, where the photo has
    as many pixels.
    """
    return Grid(photo_hw, max(1, round(max(photo_hw) / long_side)))


def pad_cells(cells: NDArray[Any]) -> NDArray[Any]:
    """What `Tile.upsample` needs around an array of one value, or a few, for each cell."""
    return cv2.copyMakeBorder(cells, 1, 2, 1, 2, cv2.BORDER_REPLICATE)


def tiles_near(grid: Grid, wanted: NDArray[np.uint8]) -> Iterator[Tile]:
    """Those with a cell that is `wanted` [*grid.size_hw], not 0, in them or beside them."""
    near = pad_cells(wanted)
    across = list(_spans(grid.size_hw[1], grid.photo_hw[1], grid.factor))
    for rows, tall in _spans(grid.size_hw[0], grid.photo_hw[0], grid.factor):
        if near[rows].any():
            for columns, wide in across:
                if near[rows, columns].any():
                    yield Tile(grid, (rows, columns), (tall, wide))


def _spans(cells: int, pixels: int, factor: int) -> Iterator[tuple[slice, slice]]:
    """One side's tiles: padded cells, pixels."""
    step = max(MIN_TILE_CELLS, TILE_PIXELS // factor)
    for start in range(0, cells, step):
        stop = min(start + step, cells)
        end = pixels if stop == cells else stop * factor
        yield slice(start, stop + 2 + (stop == cells)), slice(start * factor, end)
