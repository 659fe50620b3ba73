"""Arrays of a run as the canvases that the library draws of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .rendering import render
from .views import Array


def drawn(kind: str, array: Array) -> Image.Image | None:
    """An array of a kind, as its canvas in default colours; None where there is none: a self-map, and what `keep` left without h and w."""
    if kind == "self-map" or array.ndim < 2 or not array.size:
        return None
    tiles = array.reshape(-1, *array.shape[-2:])
    if kind == "self-pca" and len(tiles) == 3:
        return _rgb(tiles)
    if kind == "k":
        return _in_columns(tiles.transpose(0, 2, 1), 1)
    if array.ndim == 4:  # of heads: a row each
        return _in_columns(tiles, array.shape[1])
    return _in_columns(tiles, len(tiles)) if kind == "words" else render(tiles)


def _rgb(tiles: Array) -> Image.Image:
    """The three tiles of [3, h, w] as red, green and blue, each stretched for itself."""
    least = tiles.min((1, 2), keepdims=True)
    span = tiles.max((1, 2), keepdims=True) - least
    levels = (tiles - least) / np.where(span > 0, span, 1) * 256
    return Image.fromarray(np.clip(np.nan_to_num(levels), 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _in_columns(tiles: Array, columns: int) -> Image.Image:
    """Tiles, [n, h, w] with n a multiple of columns, in a grid of so many columns; a black pixel between them."""
    count, height, width = tiles.shape
    pixels = np.asarray(render(tiles))
    there = (pixels.shape[1] + 1) // (width + 1)
    edged = np.pad(pixels, ((0, 1), (0, 1), (0, 0)))
    cells = _turned(edged.reshape(-1, height + 1, there, width + 1, 3)).reshape(-1, height + 1, width + 1, 3)[:count]
    grid = _turned(cells.reshape(-1, columns, height + 1, width + 1, 3)).reshape(-1, columns * (width + 1), 3)
    return Image.fromarray(grid[:-1, :-1])


def _turned(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows of pixels to rows of cells, or back: the second and third axes change places."""
    return np.ascontiguousarray(cells.swapaxes(1, 2))
