"""What is told about a run and about where something was captured."""

from __future__ import annotations

import os
from dataclasses import dataclass

from PIL import Image

from .html import png
from .pictures import write_png

Key = tuple[str, int, str, str, int, str, int]  # kind, image, variant, side, part, block, depth


@dataclass(frozen=True)
class Place:
    """Where something was captured."""

    kind: str  #: "features", "diff", "k", "qk", "vqk", "words", "self-queries", ... as in the names of files
    image: int  #: from 0, in the batch; -1 in a hook
    variant: str  #: "enabled"; with a diff also "erased" or "other"
    block: str  #: "OUT11"; "" for heat and overlays
    depth: int  #: of the transformer layer in the block, from 0
    step: int  #: ordinal of the U-Net evaluation, from 1
    sampler_step: int  #: from 1
    sigma: float
    timestep: float
    side: str  #: "cond", "uncond"; "both" in a hook
    context: int  #: cross-attention: index into the run's contexts; else -1
    word: str  #: of an overlay; else ""
    part: int  #: of the prompts that AND joins, from 0

    def key(self) -> Key:
        """All of it but the step."""
        variant = "enabled" if self.kind == "diff" else self.variant
        return self.kind, self.image, variant, self.side, self.part, self.block, self.depth


@dataclass(frozen=True)
class Column:
    """A token's column in attention maps."""

    id: int
    text: str
    word: int  #: which word of the prompt, from 0; -1 for start and end
    weight: float


@dataclass(frozen=True)
class RunContext:
    """A context of a run."""

    text: str
    tokens: int
    columns: tuple[Column, ...]  #: empty for one made from an array


@dataclass(frozen=True)
class RunPrompt:
    """What a block attends to in one row of the batch."""

    block: str
    side: str
    variant: str
    context: int  #: index into the run's contexts
    until: int  #: the last evaluation for which it holds
    part: int
    weight: float


@dataclass(frozen=True)
class RunInfo:
    """What a run is, told before its first step; of several batches, before the first one's."""

    prompt: str
    negative_prompt: str
    sampler: str
    schedule: str
    rng: str
    model: str
    model_hash: str
    device: str
    device_note: str  #: which was chosen, and why
    precision: str
    infotext: str  #: of image 0: the webui's "parameters" text
    seed: int  #: of image 0
    cfg: float
    width_px: int
    height_px: int
    steps: int  #: the sampler's, as many as are run
    batch_size: int
    batch_count: int
    evaluations: int  #: of the U-Net for each image
    contexts: tuple[RunContext, ...]
    prompts: tuple[RunPrompt, ...]
    words: tuple[str, ...]
    skipped: tuple[str, ...]  #: blocks that `attention` names and that have none
    tensor_bytes: int  #: of all values that will come, as fp32
    picture_bytes: int
    loras: str  #: the model's, as pictures name them: "<lora:NAME:0.8>"
    other_model: str  #: of a run with `diff` on a session with another model, that one's; "" in all other runs
    other_loras: str
    steps_asked: int  #: what `steps=` was, and pictures say


@dataclass(frozen=True)
class Canvas:
    """One picture of tiles."""

    image: Image.Image
    place: Place
    average: bool  #: the average over channels (over heads, for attention) instead of all tiles
    columns: int
    rows: int
    tile_width_px: int
    tile_height_px: int

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it as a PNG, with its image's text. Raises FileError."""
        write_png(path, self.image)

    def _repr_png_(self) -> bytes:
        return png(self.image)


@dataclass(frozen=True)
class DiffNorms:
    """How far a block's output moved: b with the layer prompts, a without; or b the model's, a the other one's."""

    l2: float  #: |b - a|
    relative_l2: float  #: |b - a| / |a|; 0 where |a| is 0, whatever l2 is
    max: float  #: most |b - a| of one value
    cosine: float  #: a . b / (|a| |b|); where |a| or |b| is 0: 1 if both are, else 0
