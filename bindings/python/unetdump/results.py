"""What a run gave: images, features, attention, differences, by block and step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from .html import figure, png
from .pictures import write_png
from .places import Canvas, Column, DiffNorms, Key, RunInfo
from .rendering import render
from .views import Array
from .words import find_words

T = TypeVar("T")
@dataclass
class Store:
    """Everything that a run gave so far. Arrays are fp32, in C order, and their own memory."""

    run: RunInfo | None = None
    images: dict[tuple[int, str], Image.Image] = field(default_factory=dict)
    tensors: dict[Key, dict[int, Array]] = field(default_factory=dict)
    contexts: dict[Key, dict[int, int]] = field(default_factory=dict)
    norms: dict[Key, dict[int, DiffNorms]] = field(default_factory=dict)
    canvases: list[Canvas] = field(default_factory=list)


class Steps(Mapping[int, Array]):
    """Arrays by step (the ordinal of the U-Net's evaluation, from 1): `steps[20]`. Nothing is copied."""

    def __init__(self, arrays: Mapping[int, Array], title: str, axes: str) -> None:
        """`axes`: the shape in words, "channels, h, w"."""
        self._arrays, self._title, self.axes = arrays, title, axes

    def __getitem__(self, step: int) -> Array:
        """The array of one step."""
        if step not in self._arrays:
            raise KeyError(f"{self._title} was not kept at step {step}: kept are {list(self._arrays)}")
        return self._arrays[step]

    def __iter__(self) -> Iterator[int]:
        """The steps that were kept, in order."""
        return iter(self._arrays)

    def __len__(self) -> int:
        """How many steps were kept."""
        return len(self._arrays)

    @property
    def last(self) -> Array:
        """The array of the last step that was kept."""
        return self[list(self._arrays)[-1]]

    def __repr__(self) -> str:
        """What there is."""
        shape = next((array.shape for array in self._arrays.values()), ())
        return f"<{self._title} [{self.axes}] = {list(shape)} at steps {list(self._arrays)}>"

    def _repr_html_(self) -> str:
        if not self._arrays:
            return f"{self._title}: nothing was kept"
        array = self.last
        tiles = array.reshape(-1, *array.shape[-2:])
        kept = list(self._arrays)
        return figure(render(tiles), f"{self._title} [{self.axes}] = {list(array.shape)}, step {kept[-1]} of {kept}")


class Diff(Steps):
    """Differences of a block's output by step, [channels, h, w], and how large they are."""

    def __init__(self, arrays: Mapping[int, Array], title: str, norms: Mapping[int, DiffNorms]) -> None:
        """`norms` by step."""
        super().__init__(arrays, title, "channels, h, w")
        self.norms = norms


class Blocks(Mapping[str, T], Generic[T]):
    """By block: `blocks["OUT11"]`."""

    def __init__(self, names: list[str], make: Callable[[str], T], what: str) -> None:
        """`make` is called when a block is asked for."""
        self._names, self._make, self._what = names, make, what

    def __getitem__(self, block: str) -> T:
        """What was kept of one block."""
        if block not in self._names:
            raise KeyError(f"no {self._what} of {block} were kept: kept are {', '.join(self._names) or 'none'}")
        return self._make(block)

    def __iter__(self) -> Iterator[str]:
        """The blocks, as they first came."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many blocks."""
        return len(self._names)

    def __repr__(self) -> str:
        """What there is."""
        return f"<{self._what} of {', '.join(self._names) or 'no block'}>"


_ATTENTION = {
    "k": "heads, tokens, head_dim",
    "qk": "heads, tokens, h, w",
    "vqk": "channels, h, w",
    "words": "words, h, w",
    "self-queries": "heads, queries, h, w",
    "self-received": "heads, h, w",
    "self-entropy": "heads, h, w",
    "self-pca": "3, h, w",
    "self-map": "heads, h * w, h * w",
}


class Attention:
    """What was kept of a block's attention. SDXL's blocks have several layers: `attention["M00"].layer(3)`."""

    def __init__(self, result: Result, block: str, depth: int = 0) -> None:
        """Of one transformer layer."""
        self._result, self.block, self.depth = result, block, depth

    def layer(self, depth: int) -> Attention:
        """The same of the block's transformer layer `depth`, from 0."""
        return Attention(self._result, self.block, depth)

    def kind(self, kind: str) -> Steps:
        """One kind's arrays by step: "qk" is [heads, tokens, h, w]; see `udump_kind` for all."""
        if kind not in _ATTENTION:
            raise KeyError(f"no such kind: {kind}; there are {', '.join(_ATTENTION)}")
        arrays = self._result._arrays(kind, self.block, self.depth)
        return Steps(arrays, f"{kind} of {self.block}" + (f", layer {self.depth}" if self.depth else ""), _ATTENTION[kind])

    @property
    def k(self) -> Steps:
        """Keys of cross-attention, [heads, tokens, head_dim]."""
        return self.kind("k")

    @property
    def qk(self) -> Steps:
        """Where each token is seen: softmax(Q K^T / sqrt(d)), [heads, tokens, h, w]; over tokens the sum is 1."""
        return self.kind("qk")

    @property
    def vqk(self) -> Steps:
        """Cross-attention's output before its output projection, [channels, h, w]."""
        return self.kind("vqk")

    def columns(self, step: int) -> tuple[Column, ...]:
        """The tokens of qk's columns at a step."""
        context = self._result._contexts("qk", self.block, self.depth)[step]
        return self._result.run.contexts[context].columns

    def word(self, word: str, step: int | None = None) -> Array:
        """A word's map, [h, w]: qk, the mean over heads, summed over the word's tokens; without a step the mean over all that were kept.

        Raises KeyError where the prompt has no such word at a step, or qk was not kept.
        """
        qk, steps = self.qk, [step] if step is not None else list(self.qk)
        if not steps:
            raise KeyError(f"qk of {self.block} was not kept")
        maps = [qk[at][:, find_words(self.columns(at), word)].mean(0).sum(0) for at in steps]
        mean: Array = np.mean(maps, axis=0, dtype=np.float32)
        return mean

    def __repr__(self) -> str:
        """What there is."""
        kinds = [kind for kind in _ATTENTION if self._result._arrays(kind, self.block, self.depth)]
        return f"<attention of {self.block}: {', '.join(kinds)}>"

    def _repr_html_(self) -> str:
        return "".join(self.kind(kind)._repr_html_() for kind in _ATTENTION if self._result._arrays(kind, self.block, self.depth))


class Result:
    """What a run gave, of one of its images; `at` turns to another one."""

    def __init__(self, store: Store, image: int = 0, variant: str = "enabled", side: str = "cond", part: int = 0) -> None:
        """Made by runs."""
        self._store = store
        self._place = (image, variant, side, part)

    def at(self, image: int | None = None, variant: str | None = None, side: str | None = None, part: int | None = None) -> Result:
        """The same run's results of another image, variant ("enabled", "erased", "other"), side ("cond", "uncond") or part of an AND."""
        asked = (image, variant, side, part)
        return Result(self._store, *(old if new is None else new for old, new in zip(self._place, asked, strict=True)))  # type: ignore[arg-type]

    @property
    def run(self) -> RunInfo:
        """What the run is. Raises LookupError before its first step."""
        if self._store.run is None:
            raise LookupError("the run has not begun")
        return self._store.run

    @property
    def image(self) -> Image.Image:
        """The picture, RGB; its `info["parameters"]` is the webui's text. Raises LookupError before it is decoded."""
        if self._place[:2] not in self._store.images:
            raise LookupError(f"there is no image {self._place[0]} ({self._place[1]}): there are {list(self._store.images)}")
        return self._store.images[self._place[:2]]

    @property
    def images(self) -> list[Image.Image]:
        """All pictures of the batches, of this variant."""
        return [image for (_, variant), image in self._store.images.items() if variant == self._place[1]]

    @property
    def features(self) -> Blocks[Steps]:
        """Blocks' outputs: `features["OUT11"][20]` is [channels, h, w]."""
        return Blocks(self._blocks("features"), lambda block: Steps(self._arrays("features", block), block, "channels, h, w"), "features")

    @property
    def attention(self) -> Blocks[Attention]:
        """Blocks' attention: `attention["M00"].qk[20]` is [heads, tokens, h, w], `.word("circle")` [h, w]."""
        return Blocks(self._blocks(*_ATTENTION), lambda block: Attention(self, block), "attention")

    @property
    def diff(self) -> Blocks[Diff]:
        """Differences: `diff["OUT11"][20]` is [channels, h, w], `diff["OUT11"].norms[20]` how large it is."""
        return Blocks(self._blocks("diff"), self._diff, "differences")

    @property
    def heat(self) -> dict[str, Array]:
        """Each word's heat over the image, [height / 8, width / 8]: the mean over blocks and steps (DAAM). Needs `words`."""
        arrays = self._arrays("heat", "")
        return dict(zip(self.run.words, next(iter(arrays.values())), strict=True)) if arrays else {}

    @property
    def canvases(self) -> list[Canvas]:
        """All pictures of tiles, of every image, in the order in which they were made. Needs `canvases=True`."""
        return self._store.canvases

    def canvas(self, kind: str, block: str, step: int, *, average: bool = False, depth: int = 0, word: str = "") -> Canvas:
        """One of this image's pictures of tiles; of an overlay block is "" and step 0. Raises LookupError."""
        wanted = (kind, *self._place, block, depth), step, average, word
        for canvas in self._store.canvases:
            if (canvas.place.key(), canvas.place.step, canvas.average, canvas.place.word) == wanted:
                return canvas
        raise LookupError(f"no canvas of {kind}, {block}, step {step}")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the picture as the PNG that the command writes. Raises FileError."""
        write_png(path, self.image)

    def _key(self, kind: str, block: str, depth: int = 0) -> Key:
        image, variant, side, part = self._place
        return kind, image, variant, side, part, block, depth

    def _arrays(self, kind: str, block: str, depth: int = 0) -> dict[int, Array]:
        return self._store.tensors.get(self._key(kind, block, depth), {})

    def _contexts(self, kind: str, block: str, depth: int) -> dict[int, int]:
        return self._store.contexts.get(self._key(kind, block, depth), {})

    def _diff(self, block: str) -> Diff:
        return Diff(self._arrays("diff", block), f"difference of {block}", self._store.norms.get(self._key("diff", block), {}))

    def _blocks(self, *kinds: str) -> list[str]:
        keys = [*self._store.tensors, *self._store.norms]
        return list(dict.fromkeys(key[5] for key in keys if key[0] in kinds and key[1:5] == self._place))

    def __repr__(self) -> str:
        """What there is."""
        if self._store.run is None:
            return "<result of a run that has not begun>"
        return f"<result of {self.run.prompt!r}: {len(self._store.images)} images, {self.features}, {self.attention}, {self.diff}>"

    def _repr_png_(self) -> bytes | None:
        image = self._store.images.get(self._place[:2])
        return png(image) if image else None
