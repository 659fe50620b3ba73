"""What a sweep's folder holds: cells, how far each is from its base, which blocks move the picture most."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ._c import ffi, lib
from .errors import c_path, check, new_error, text
from .html import figure, png
from .pictures import read_png
from .places import DiffNorms
from .views import Array


@dataclass(frozen=True)
class SweepMeasure:
    """How far a cell is from its base."""

    picture: DiffNorms  #: pictures as values from 0 to 1
    latent: DiffNorms


@dataclass(frozen=True)
class SweepCell:
    """One picture of a sweep; its files are read when they are asked for."""

    folder: Path
    key: str  #: the hash of all that decides the result: its files in `folder`/cells are named so
    is_base: bool
    blocks: str  #: the layer spec; "" for a base
    variant: str  #: its prompt; "" for a base, and where LoRAs vary
    prompt: str  #: what `generate` would be given
    seed: int
    lora_weight: float  #: what the LoRAs' weights are multiplied by; 0 for the base where LoRAs vary
    batch: int  #: the one that makes it
    measure: SweepMeasure | None = None  #: None while the sweep goes on, and where it or its base is not there

    def file(self, suffix: str) -> Path:
        """One of its files: ".png", ".npy" (the latent) or ".json" (what it is)."""
        return self.folder / "cells" / (self.key + suffix)

    @property
    def there(self) -> bool:
        """Whether it is there and whole. Raises FileError."""
        there, error = ffi.new("int32_t *"), new_error()
        check(lib.udump_sweep_cell_there(c_path(self.folder), self.key.encode(), there, error), error)
        return bool(there[0])

    @property
    def image(self) -> Image.Image:
        """The picture. Raises FileError where it is not there."""
        return read_png(self.file(".png"))

    @property
    def latent(self) -> Array:
        """What sampling came to, [4, height / 8, width / 8]."""
        values: Array = np.load(self.file(".npy"))
        return values

    def outputs(self, side: str = "cond", part: int = 0) -> dict[str, dict[int, DiffNorms]]:
        """How far blocks' outputs are from the base's, by block and step: `outputs()["OUT11"][20].l2`. Needs a sweep's `diff`.

        side: "cond" or "uncond". part: of the prompts that AND joins.
        """
        found: dict[str, dict[int, DiffNorms]] = {}
        for item in json.loads(self.file(".json").read_text("utf-8"))["blocks"]:
            if (item["side"], item.get("part", 0)) == (side, part):
                norms = DiffNorms(item["l2"], item["relative_l2"], item["max"], item["cosine"])
                found.setdefault(item["block"], {})[item["step"]] = norms
        return found

    def __str__(self) -> str:
        """A line about it."""
        what = "base" if self.is_base else f"{self.blocks}: {self.variant or f'LoRA {self.lora_weight:g}'}"
        return f"{what}, seed {self.seed}"

    def _repr_png_(self) -> bytes:
        return png(self.image)


@dataclass(frozen=True)
class SweepRank:
    """What a choice of blocks changes on average, over seeds, LoRA weights and variants."""

    blocks: str
    cells: int  #: that were there
    mean: SweepMeasure


def cell_of(struct: Any, folder: Path, measure: SweepMeasure | None = None) -> SweepCell:
    """A udump_sweep_cell."""
    texts = (text(struct.blocks), text(struct.variant), text(struct.prompt))
    return SweepCell(folder, text(struct.key), bool(struct.is_base), *texts, struct.seed, struct.lora_weight, struct.batch, measure)


def _measure_of(struct: Any) -> SweepMeasure:
    norms = [DiffNorms(n.l2, n.relative_l2, n.max, n.cosine) for n in (struct.picture, struct.latent)]
    return SweepMeasure(*norms)


class SweepResult:
    """What a sweep came to. `ranking` is of all variants, seeds and weights together."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Measures what is in the folder, and writes sweep.csv, results.json, sheet.png and index.html there; `collect_sweep` makes one."""
        self.folder = Path(folder)
        held, error = ffi.new("udump_sweep_result **"), new_error()
        check(lib.udump_sweep_collect(c_path(folder), held, error), error)
        result = ffi.gc(held[0], lib.udump_sweep_result_free)
        count, missing = ffi.new("int32_t *"), ffi.new("int32_t *")
        lib.udump_sweep_result_count(result, count, missing)
        self.missing: int = missing[0]  #: cells that are not there or not whole
        self.cells: tuple[SweepCell, ...] = tuple(self._cell(result, i) for i in range(count[0]))
        self.ranking: tuple[SweepRank, ...] = _ranking(result, -1)  #: those that change the picture most first
        self.variants: list[str] = []  #: the prompts that vary; none where LoRAs do
        while (variant := lib.udump_sweep_result_variant(result, len(self.variants))) != ffi.NULL:
            self.variants.append(text(variant))
        self._rankings = {variant: _ranking(result, i) for i, variant in enumerate(self.variants)}

    def _cell(self, result: Any, index: int) -> SweepCell:
        cell, there, measure, error = ffi.new("udump_sweep_cell *"), ffi.new("int32_t *"), ffi.new("udump_sweep_measure *"), new_error()
        check(lib.udump_sweep_result_get(result, index, cell, there, measure, error), error)
        return cell_of(cell, self.folder, _measure_of(measure) if there[0] and not cell.is_base else None)

    def ranking_of(self, variant: str) -> tuple[SweepRank, ...]:
        """The ranking of one variant. Raises KeyError."""
        return self._rankings[variant]

    def cell(self, blocks: str = "", *, variant: str | None = None, seed: int | None = None, lora_weight: float | None = None) -> SweepCell:
        """The first cell of these blocks ("": a base) that has what is asked for. Raises LookupError."""
        wanted = {"variant": variant, "seed": seed, "lora_weight": lora_weight}
        for cell in self.cells:
            if cell.blocks == blocks and all(value in (None, getattr(cell, name)) for name, value in wanted.items()):
                return cell
        raise LookupError(f"no cell of {blocks!r} with {wanted}")

    @property
    def sheet(self) -> Image.Image:
        """All pictures, small, each under its blocks; what passes 64 million pixels is left out."""
        return read_png(self.folder / "sheet.png")

    def __repr__(self) -> str:
        """What there is."""
        return f"<sweep of {len(self.cells)} cells, {self.missing} missing, in {str(self.folder)!r}>"

    def _repr_html_(self) -> str:
        rows = "".join(_row(number, rank) for number, rank in enumerate(self.ranking, 1) if rank.cells)
        heads = "".join(f"<th>{name}</th>" for name in ("rank", "blocks", "picture", "cosine", "most", "latent", "cells"))
        return f"<table><tr>{heads}</tr>{rows}</table>" + figure(self.sheet, f"{len(self.cells)} cells, {self.missing} missing")


def _row(number: int, rank: SweepRank) -> str:
    picture, latent = rank.mean.picture, rank.mean.latent
    values: Sequence[str] = [f"{value:.4f}" for value in (picture.relative_l2, picture.cosine, picture.max, latent.relative_l2)]
    cells = "".join(f"<td>{value}</td>" for value in (str(number), html.escape(rank.blocks), *values, str(rank.cells)))
    return f"<tr>{cells}</tr>"


def _ranking(result: Any, variant: int) -> tuple[SweepRank, ...]:
    count = ffi.new("int32_t *")
    ranks = lib.udump_sweep_result_ranking(result, variant, count)
    return tuple(SweepRank(text(rank.blocks), rank.cells, _measure_of(rank.mean)) for rank in ffi.unpack(ranks, count[0]))


def collect_sweep(folder: str | os.PathLike[str]) -> SweepResult:
    """Measures and ranks what is in a sweep's folder, which may lack cells. It needs no model.

    Raises FileError, FormatError (no sweep; a file that is none of ours), OutOfMemoryError.
    """
    return SweepResult(folder)
