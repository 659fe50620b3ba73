"""The U-Net as a drawing: down on the left, M00 below, up on the right, each block across from the one that its skip leads to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

from unetdump.model import Model

from .blocks import Described, describe

WIDTH, ROW, BOX_W, BOX_H, INDENT, TOP = 400, 25, 92, 19, 18, 4


def draw(model: Model, width_px: int, height_px: int, chosen: Collection[str], *, attention_only: bool = False, soft: bool = False) -> str:
    """An SVG of all blocks; those chosen have the class "on".

    attention_only: blocks without attention cannot be chosen. soft: all are meant because none was chosen.
    """
    shown = describe(model, width_px, height_px)
    middle = next(i for i, block in enumerate(shown) if block.name.startswith("M"))
    down, up = shown[:middle], shown[:middle:-1]
    able = {b.name for b in model.blocks if b.attention_depth or not attention_only}
    parts = [_way(down, up)]
    for row, pair in enumerate(zip(down, up, strict=True)):
        indent = INDENT * _level(pair[0], shown)
        parts.append(f'<path class="skip" d="M{indent + BOX_W} {_middle(row)}H{WIDTH - indent - BOX_W}"/>')
        if row == 0 or (pair[0].width, pair[0].height) != (down[row - 1].width, down[row - 1].height):
            parts.append(f'<text class="size" x="{WIDTH // 2}" y="{_middle(row)}">{pair[0].width} x {pair[0].height}</text>')
        for block, x in zip(pair, (indent, WIDTH - indent - BOX_W), strict=True):
            parts.append(_box(block, x, row, block.name in chosen, block.name in able))
    parts.append(_box(shown[middle], (WIDTH - BOX_W) // 2, len(down), shown[middle].name in chosen, shown[middle].name in able))
    height = TOP + ROW * (len(down) + 1)
    kind = "unet soft" if soft else "unet"
    return f'<svg class="{kind}" viewBox="0 0 {WIDTH} {height}" role="group" aria-label="The U-Net\'s blocks">{"".join(parts)}</svg>'


def _level(block: Described, shown: Sequence[Described]) -> int:
    """How many times its width was halved."""
    widths = sorted({b.width for b in shown}, reverse=True)
    return widths.index(block.width)


def _middle(row: int) -> int:
    return TOP + ROW * row + BOX_H // 2


def _way(down: Sequence[Described], up: Sequence[Described]) -> str:
    """The way of the values, behind the boxes."""
    left = [f"{INDENT * _level(block, down) + BOX_W // 2} {_middle(row)}" for row, block in enumerate(down)]
    right = [f"{WIDTH - INDENT * _level(block, down) - BOX_W // 2} {_middle(row)}" for row, block in reversed(list(enumerate(up)))]
    return f'<polyline class="way" points="{" ".join([*left, f"{WIDTH // 2} {_middle(len(down))}", *right])}"/>'


def _box(block: Described, x: int, row: int, on: bool, able: bool) -> str:
    y = TOP + ROW * row
    state = "on" if on else "off"
    name = escape(block.name)
    does = f'data-block="{name}" role="checkbox" tabindex="0" aria-checked="{str(on).lower()}"' if able else 'aria-disabled="true"'
    mark = f'<circle cx="{x + BOX_W - 10}" cy="{y + BOX_H // 2}" r="2.6"/>' if "attention" in block.what else ""
    title = f"{name} {block.shape}: {block.what}"
    channels = f'<text class="channels" x="{x + BOX_W - 18}" y="{y + 13}">{block.channels}</text>'
    return (
        f'<g class="block {state}{"" if able else " unable"}" {does} aria-label="{name}"><title>{escape(title)}</title>'
        f'<rect x="{x}" y="{y}" width="{BOX_W}" height="{BOX_H}" rx="4"/><text x="{x + 8}" y="{y + 13}">{name}</text>{channels}{mark}</g>'
    )
