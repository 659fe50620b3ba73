"""Which blocks a layer spec names, the spec of a choice of blocks, and what each block is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unetdump.model import Block, Model
from unetdump.notation import parse_layers

RANGE_LEAST = 3  # neighbours that a range is worth


def spec_of(chosen: Sequence[str], names: Sequence[str]) -> str:
    """The shortest spec of the chosen blocks: "IN01,IN04-OUT03". names: the model's blocks in order."""
    parts: list[str] = []
    run: list[str] = []
    for name in [*names, ""]:
        if name and name in chosen:
            run.append(name)
            continue
        parts += [f"{run[0]}-{run[-1]}"] if len(run) >= RANGE_LEAST else run
        run = []
    return ",".join(parts)


def toggle(spec: str, block: str, model: Model) -> str:
    """The spec with the block turned on or off.

    A spec that is empty names all blocks because nobody has chosen yet: the first choice is then the only one, and without the last it is
    empty again. Raises NotationError for a spec that does not parse.
    """
    names = [b.name for b in model.blocks]
    chosen = parse_layers(spec, model) if spec.strip() else []
    return spec_of([name for name in names if (name in chosen) != (name == block)], names)


@dataclass(frozen=True)
class Described:
    """A block at a picture's size."""

    name: str
    channels: int
    width: int  #: of its output, in its own pixels
    height: int
    what: str  #: "residual, attention (8 heads), upsampling"

    @property
    def shape(self) -> str:
        """As the extension's table has it: "(320, 64, 64)"."""
        return f"({self.channels}, {self.height}, {self.width})"


def what_it_is(block: Block) -> str:
    """In words."""
    layers = f"{block.attention_depth} layers, " if block.attention_depth > 1 else ""
    attention = f"attention ({layers}{block.heads} heads)"
    if block.path == "conv_in":
        return "input convolution"
    if block.path.startswith("mid_block"):
        return f"residual, {attention}, residual" if block.attention_depth else "residual, residual"
    parts = [part.split(".")[-2] for part in block.path.split(" + ")]
    names = {"resnets": "residual", "attentions": attention, "downsamplers": "downsampling", "upsamplers": "upsampling"}
    return ", ".join(names.get(part, part) for part in parts)


def describe(model: Model, width_px: int, height_px: int) -> list[Described]:
    """All blocks of a model at a picture's size."""
    latent = model.info.pixels_per_latent
    w, h = -(-width_px // latent), -(-height_px // latent)
    return [Described(b.name, b.channels, -(-w // b.downscale), -(-h // b.downscale), what_it_is(b)) for b in model.blocks]


def with_attention(model: Model) -> list[str]:
    """The blocks that have attention."""
    return [block.name for block in model.blocks if block.attention_depth]
