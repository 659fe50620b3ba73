"""What a run gave: images, features, attention, differences, by block and step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from .drawing import drawn
from .html import caption, figure, png
from .pictures import write_png
from .places import Canvas, Column, DiffNorms, Key, RunInfo
from .views import Array
from .words import find_words

T = TypeVar("T")


@dataclass
class Store:
    """Everything that a run gave so far. Arrays are fp32, in C order, and their own memory."""

    run: RunInfo | None = None
    side: str = "cond"  #: whose rows were kept: "cond", "uncond" or "both"
    images: dict[tuple[int, str], Image.Image] = field(default_factory=dict)
    tensors: dict[Key, dict[int, Array]] = field(default_factory=dict)
    contexts: dict[Key, dict[int, int]] = field(default_factory=dict)
    norms: dict[Key, dict[int, DiffNorms]] = field(default_factory=dict)
    canvases: list[Canvas] = field(default_factory=list)


class Steps(Mapping[int, Array]):
    """Arrays by step (the ordinal of the U-Net's evaluation, from 1): `steps[20]`. Nothing is copied."""

    def __init__(self, arrays: Mapping[int, Array], title: str, axes: str, kind: str = "features") -> None:
        """`axes`: the shape in words, "channels, h, w". kind: what the arrays are, for notebooks to draw."""
        self._arrays, self._title, self.axes, self._kind = arrays, title, axes, kind

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
            return caption(f"{self._title}: nothing was kept")
        array, kept = self.last, list(self._arrays)
        picture, words = drawn(self._kind, array), f"{self._title} [{self.axes}] = {list(array.shape)}, step {kept[-1]} of {kept}"
        return figure(picture, words) if picture else caption(words)


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


_CROSS = ("qk", "k", "vqk", "words")


class Attention:
    """What was kept of a block's attention. SDXL's blocks have several layers: `attention["M00"].layer(3)`."""

    def __init__(self, result: Result, block: str, depth: int = 0) -> None:
        """Of one transformer layer."""
        self._result, self.block, self.depth = result, block, depth

    def layer(self, depth: int) -> Attention:
        """The same of the block's transformer layer `depth`, from 0. Raises KeyError where nothing was kept of it."""
        kept = self._result._layers(self.block)
        if depth not in kept:
            raise KeyError(f"no attention of {self.block}, layer {depth} was kept: kept are {', '.join(map(str, kept)) or 'none'}")
        return Attention(self._result, self.block, depth)

    @property
    def _title(self) -> str:
        return self.block + (f", layer {self.depth}" if self.depth else "")

    def _kept(self) -> str:
        """The kinds that were kept, in words."""
        return ", ".join(kind for kind in _ATTENTION if self._result._arrays(kind, self.block, self.depth)) or "none"

    def kind(self, kind: str) -> Steps:
        """One kind's arrays by step: "qk" is [heads, tokens, h, w]; see `udump_kind` for all."""
        if kind not in _ATTENTION:
            raise KeyError(f"no such kind: {kind}; there are {', '.join(_ATTENTION)}")
        arrays = self._result._arrays(kind, self.block, self.depth)
        return Steps(arrays, f"{kind} of {self._title}", _ATTENTION[kind], kind)

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
        """The tokens at a step: qk's columns, k's rows. Raises KeyError where nothing of cross-attention was kept."""
        kept = {kind: self._result._contexts(kind, self.block, self.depth) for kind in _CROSS}
        found = [kind for kind, contexts in kept.items() if contexts]
        if not found:
            raise KeyError(f"no cross-attention of {self._title} was kept: kept are {self._kept()}")
        if step not in kept[found[0]]:
            raise KeyError(f"{found[0]} of {self._title} was not kept at step {step}: kept are {list(kept[found[0]])}")
        return self._result.run.contexts[kept[found[0]][step]].columns

    def word(self, word: str, step: int | None = None) -> Array:
        """A word's map, [h, w]: qk, the mean over heads, summed over the word's tokens; without a step the mean over all that were kept.

        Where `words` was given and qk not kept, the map of one of these; it is zero where the block's prompt lacks the word.
        Raises KeyError where the prompt has no such word at a step, or neither qk nor its map was kept.
        """
        if not self.qk:
            return self._word_of_words(word, step)
        steps = [step] if step is not None else list(self.qk)
        maps = [self.qk[at][:, find_words(self.columns(at), word)].mean(0).sum(0) for at in steps]
        mean: Array = np.mean(maps, axis=0, dtype=np.float32)
        return mean

    def _word_of_words(self, word: str, step: int | None) -> Array:
        maps, known = self.kind("words"), self._result.run.words
        if not maps:
            raise KeyError(f"qk of {self._title} was not kept: kept are {self._kept()}")
        if word not in known:
            raise KeyError(f"{word!r} is none of words, and qk of {self._title} was not kept: the words are {', '.join(known)}")
        steps = [step] if step is not None else list(maps)
        mean: Array = np.mean([maps[at][known.index(word)] for at in steps], axis=0, dtype=np.float32)
        return mean

    def __repr__(self) -> str:
        """What there is."""
        return f"<attention of {self._title}: {self._kept()}>"

    def _repr_html_(self) -> str:
        return "".join(self.kind(kind)._repr_html_() for kind in _ATTENTION if self._result._arrays(kind, self.block, self.depth))


class Result:
    """What a run gave, of one of its images; `at` turns to another one."""

    def __init__(self, store: Store, image: int = 0, variant: str = "enabled", side: str | None = None, part: int = 0) -> None:
        """Made by runs. side: None is "cond", unless "uncond" alone was kept."""
        self._store = store
        self._place = (image, variant, side or ("uncond" if store.side == "uncond" else "cond"), part)

    def at(self, image: int | None = None, variant: str | None = None, side: str | None = None, part: int | None = None) -> Result:
        """The same run's results of another image, variant ("enabled", "erased", "other"), side ("cond", "uncond") or part of an AND.

        Raises KeyError for what the run has not, or has not kept.
        """
        asked = {"image": image, "variant": variant, "side": side, "part": part}
        place = {name: old if asked[name] is None else asked[name] for name, old in zip(asked, self._place, strict=True)}
        for name, there in self._there(str(place["variant"]), str(place["side"])).items():
            if asked[name] is not None and asked[name] not in there:
                raise KeyError(f"no {name} {asked[name]!r}: there are {', '.join(map(str, there))}")
        return Result(self._store, **place)  # type: ignore[arg-type]

    def _there(self, variant: str, side: str) -> dict[str, Sequence[int | str]]:
        """What `at` may turn to; parts: of a variant's side."""
        run = self.run
        return {
            "image": range(run.batch_size * run.batch_count),
            "variant": list(dict.fromkeys(prompt.variant for prompt in run.prompts)),
            "side": ("cond", "uncond") if self._store.side == "both" else (self._store.side,),
            "part": sorted({prompt.part for prompt in run.prompts if (prompt.variant, prompt.side) == (variant, side)}),
        }

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
        return Blocks(self._blocks("features"), self._features, "features")

    @property
    def attention(self) -> Blocks[Attention]:
        """Blocks' attention: `attention["M00"].qk[20]` is [heads, tokens, h, w], `.word("circle")` [h, w]."""
        return Blocks(self._blocks(*_ATTENTION), self._attention, "attention")

    @property
    def diff(self) -> Blocks[Diff]:
        """Differences: `diff["OUT11"][20]` is [channels, h, w], `diff["OUT11"].norms[20]` how large it is."""
        return Blocks(self._blocks("diff"), self._diff, "differences")

    @property
    def heat(self) -> dict[str, Array]:
        """Each word's heat over the image, [height / 8, width / 8]: the mean over blocks and steps (DAAM). Needs `words`.

        Of a word that this image's, side's or part's prompt lacks it is zero.
        """
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

    def _features(self, block: str) -> Steps:
        return Steps(self._arrays("features", block), block, "channels, h, w")

    def _attention(self, block: str) -> Attention:
        return Attention(self, block)

    def _layers(self, block: str) -> list[int]:
        """The transformer layers of a block of which something was kept."""
        return sorted({key[6] for key in self._store.tensors if key[0] in _ATTENTION and key[1:6] == (*self._place, block)})

    def _diff(self, block: str) -> Diff:
        return Diff(self._arrays("diff", block), f"difference of {block}", self._store.norms.get(self._key("diff", block), {}))

    def _blocks(self, *kinds: str) -> list[str]:
        keys = [*self._store.tensors, *self._store.norms]
        return list(dict.fromkeys(key[5] for key in keys if key[0] in kinds and key[1:5] == self._place))

    def __repr__(self) -> str:
        """What there is."""
        if self._store.run is None:
            return "<result of a run that has not begun>"
        return f"<result of {self.run.prompt!r}: {len(self.images)} images, {self.features}, {self.attention}, {self.diff}>"

    def _repr_png_(self) -> bytes | None:
        image = self._store.images.get(self._place[:2])
        return png(image) if image else None
