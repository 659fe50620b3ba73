"""What a run keeps for clicks, and the maps that a click shows.

Kept of every attention that the run was asked for: Q*K and, if any point is to be clicked on, the whole self-attention map; the mean over
heads, in half precision. At 512 x 512 that is 4 MB a step for all blocks' Q*K, and 2 MB for the map of a block of 32 x 32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unetdump.places import Column, Key, Place
from unetdump.rendering import render
from unetdump.results import Result
from unetdump.views import Array

from .colours import HEAT

SAMPLE_MOST = 1 << 18  # values of a feature map that is kept to try colours on
OVER = 0.62  # how much of an overlay is the map; the rest is the picture, in grey


class Keeper:
    """Says what of each array a run keeps, and holds the last feature map that is small enough to try colours on."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.sample: tuple[str, Array] | None = None

    def __call__(self, place: Place, values: NDArray[Any]) -> NDArray[Any] | None:
        """As `RunOptions.keep`."""
        if place.kind in ("features", "diff") and values.size <= SAMPLE_MOST:
            self.sample = f"{place.block} at step {place.step}", values
        if place.kind in ("qk", "self-map"):
            kept: NDArray[Any] = values.mean(0, keepdims=True).astype(np.float16)
            return kept
        return None


@dataclass(frozen=True)
class Token:
    """A column of a context of the run."""

    side: str
    part: int
    context: int
    column: int


@dataclass(frozen=True)
class Point:
    """A pixel of the picture."""

    x: int
    y: int


@dataclass(frozen=True)
class Prompted:
    """A text that blocks attend to, with its tokens up to the first end."""

    side: str
    part: int
    context: int
    blocks: tuple[str, ...]
    steps: tuple[int, ...]  #: of those that were kept
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Maps:
    """What a click shows: each block's map, [h, w] in that block's own pixels, and their mean over the picture, [H / 8, W / 8]."""

    blocks: dict[str, Array]
    mean: Array


class Captured:
    """The maps of one image of a run."""

    def __init__(self, result: Result, image: int, variant: str) -> None:
        """Of a run that has ended."""
        self._store, self._image, self._variant = result._store, image, variant
        self.run = result.run

    def _keys(self, kind: str) -> list[Key]:
        return [key for key in self._store.tensors if key[:3] == (kind, self._image, self._variant)]

    def steps(self) -> list[int]:
        """The evaluations at which anything was kept."""
        return sorted({step for kind in ("qk", "self-map") for key in self._keys(kind) for step in self._store.tensors[key]})

    def blocks(self) -> list[str]:
        """The blocks of which anything was kept."""
        return list(dict.fromkeys(key[5] for kind in ("qk", "self-map") for key in self._keys(kind)))

    def prompts(self) -> list[Prompted]:
        """The texts that blocks attend to, first those that most blocks do."""
        found: dict[tuple[str, int, int], list[tuple[str, int]]] = {}
        for key in self._keys("qk"):
            for step, context in self._store.contexts[key].items():
                found.setdefault((key[3], key[4], context), []).append((key[5], step))
        listed = [self._prompted(which, seen) for which, seen in found.items()]
        return sorted(listed, key=lambda one: (one.side != "cond", one.part, one.steps[0], -len(one.blocks)))

    def _prompted(self, which: tuple[str, int, int], seen: list[tuple[str, int]]) -> Prompted:
        """seen: blocks and steps."""
        blocks, steps = dict.fromkeys(block for block, _ in seen), {step for _, step in seen}
        return Prompted(*which, tuple(blocks), tuple(sorted(steps)), self._columns(which[2]))

    def _columns(self, context: int) -> tuple[Column, ...]:
        columns = self.run.contexts[context].columns
        words = [i for i, column in enumerate(columns) if column.word >= 0]
        return columns[: words[-1] + 2 if words else 2]

    @property
    def has_points(self) -> bool:
        """Whether any point can be clicked on."""
        return bool(self._keys("self-map"))

    def maps(self, target: Token | Point, block: str | None = None, step: int | None = None) -> Maps:
        """Of what was clicked on: of one block or all, at one step or all that were kept. Raises LookupError where there is nothing."""
        return self._token(target, block, step) if isinstance(target, Token) else self._point(target, block, step)

    def _token(self, token: Token, block: str | None, step: int | None) -> Maps:
        """Where a token is seen."""
        maps: list[tuple[str, Array]] = []
        for key in self._keys("qk"):
            if key[3:5] == (token.side, token.part) and block in (None, key[5]):
                contexts, arrays = self._store.contexts[key], self._store.tensors[key]
                maps += [
                    (key[5], _plain(arrays[at][0, token.column]))
                    for at in arrays
                    if contexts[at] == token.context and step in (None, at)
                ]
        return self._mean(maps)

    def _point(self, point: Point, block: str | None, step: int | None) -> Maps:
        """Where a point of the picture looks, as a multiple of looking everywhere alike."""
        maps: list[tuple[str, Array]] = []
        keys = self._keys("self-map")
        for key in keys:
            if key[3:5] == keys[0][3:5] and block in (None, key[5]):  # of the prompt's rows, if these were kept
                for at, array in self._store.tensors[key].items():
                    if step in (None, at):
                        maps.append((key[5], self._row(_plain(array[0]), point)))
        return self._mean(maps)

    def _row(self, rows: Array, point: Point) -> Array:
        """The row of a [h * w, h * w] map in which the point lies, as [h, w]."""
        aspect = self.run.width_px / self.run.height_px
        h = min(range(1, len(rows) + 1), key=lambda h: (len(rows) % h, abs(len(rows) / h / h - aspect)))
        w = len(rows) // h
        y, x = point.y * h // self.run.height_px, point.x * w // self.run.width_px
        row: Array = rows[y * w + x].reshape(h, w) * np.float32(len(rows))
        return row

    def _mean(self, maps: Iterable[tuple[str, Array]]) -> Maps:
        by_block: dict[str, list[Array]] = {}
        for name, values in maps:
            by_block.setdefault(name, []).append(values)
        if not by_block:
            raise LookupError("nothing was kept of this block and step")
        blocks = {name: _averaged(values) for name, values in by_block.items()}
        size = -(-self.run.width_px // 8), -(-self.run.height_px // 8)
        return Maps(blocks, _averaged([_resized(values, size) for values in blocks.values()]))


def _averaged(arrays: Sequence[Array]) -> Array:
    mean: Array = np.stack(arrays).mean(0)
    return mean


def _plain(values: NDArray[Any]) -> Array:
    return values.astype(np.float32)


def _resized(values: Array, size: tuple[int, int]) -> Array:
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR), np.float32)


def overlay(picture: Image.Image, heat: Array) -> Image.Image:
    """The picture in grey under the map in colours."""
    colours = render(heat[None], color=HEAT).resize(picture.size, Image.Resampling.BILINEAR)
    return Image.blend(picture.convert("L").convert("RGB"), colours, OVER)
