"""The picture, its tokens and the maps of what was clicked on, as HTML."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from PIL import Image

from unetdump.html import png

from .blocks import spec_of
from .captured import Captured, Maps, Point, Prompted, Token, overlay
from .colours import tile

SIDE_NAMES = {"cond": "", "uncond": "negative prompt"}


def _data(bytes_: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(bytes_).decode()


def frame(picture: Image.Image, maps: Maps | None = None, target: Token | Point | None = None) -> str:
    """The picture, with the maps' mean over it and a mark on a point."""
    shown = picture if maps is None else overlay(picture, maps.mean)
    mark = ""
    if isinstance(target, Point):
        left, top = 100 * (target.x + 0.5) / picture.width, 100 * (target.y + 0.5) / picture.height
        mark = f'<span class="mark" style="left:{left:.2f}%;top:{top:.2f}%"></span>'
    size = f'data-width="{picture.width}" data-height="{picture.height}"'
    return f'<div class="frame"><img class="picture" alt="the picture" {size} src="{_data(png(shown))}">{mark}</div>'


def _at(steps: Sequence[int]) -> str:
    """Steps in words: "step 3", "steps 1-3,7"."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and step == runs[-1][-1] + 1:
            runs[-1].append(step)
        else:
            runs.append([step])
    spec = ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
    return f"step{'s' if len(steps) > 1 else ''} {spec}"


def tokens(prompts: Sequence[Prompted], chosen: Token | Point | None, names: Sequence[str]) -> str:
    """The prompts' tokens, to be clicked on; with the blocks that see them where there are several, and the steps where these differ."""
    rows = []
    for prompt in prompts:
        which = [SIDE_NAMES[prompt.side], f"part {prompt.part + 1}" if any(p.part for p in prompts) else ""]
        which.append(spec_of(prompt.blocks, names) if len(prompts) > 1 else "")
        which.append(_at(prompt.steps) if len({p.steps for p in prompts}) > 1 else "")
        label = " · ".join(part for part in which if part)
        buttons = []
        for i, column in enumerate(prompt.columns):
            token = Token(prompt.side, prompt.part, prompt.context, i)
            state = ("on " if token == chosen else "") + ("word" if column.word >= 0 else "edge")
            place = f'data-token="{prompt.side} {prompt.part} {prompt.context} {i}"'
            joined = " joined" if i and column.word >= 0 and prompt.columns[i - 1].word == column.word else ""
            buttons.append(f'<button type="button" class="{state}{joined}" {place}>{escape(column.text)}</button>')
        rows.append(f'<div class="prompt">{f"<span>{escape(label)}</span>" if label else ""}{"".join(buttons)}</div>')
    return f'<div class="tokens">{"".join(rows)}</div>'


def by_block(maps: Maps) -> str:
    """Each block's own map, small."""
    shown = [
        f'<figure><img src="{_data(tile(values))}" alt=""><figcaption>{escape(name)}<br>max {values.max():.2g}</figcaption></figure>'
        for name, values in maps.blocks.items()
    ]
    return f'<div class="by-block">{"".join(shown)}</div>'


def title(captured: Captured, target: Token | Point) -> str:
    """What the maps are of."""
    if isinstance(target, Point):
        return f"Where the point {target.x}, {target.y} looks: self-attention"
    column = captured.run.contexts[target.context].columns[target.column]
    return f'Where "{column.text}" is seen: cross-attention'


def hint(captured: Captured) -> str:
    """What can be clicked on."""
    can = [what for what, there in (("a token", captured.prompts()), ("a point of the picture", captured.has_points)) if there]
    if not can:
        return "To see where tokens and points look, extract attention with Q*K or maps of any point."
    return f"Click {' or '.join(can)} to see its maps."


def view(picture: Image.Image, captured: Captured, names: Sequence[str], target: Token | Point | None, maps: Maps | None) -> str:
    """All of it. names: the blocks that have attention. maps: what was kept of the target."""
    said = title(captured, target) if target else hint(captured)
    clear = '<button type="button" class="clear" data-clear="1">Back to the picture</button>' if target else ""
    kept = tokens(captured.prompts(), target, names)
    return (
        f'<div class="viewer">{frame(picture, maps, target)}<div class="beside">{kept}<p class="said">{escape(said)}{clear}</p>'
        f"{by_block(maps) if maps else ''}</div></div>"
    )


def parse_token(text: str) -> Token:
    """What a token's button says of itself. Raises ValueError."""
    side, part, context, column = text.split()
    return Token(side, int(part), int(context), int(column))
