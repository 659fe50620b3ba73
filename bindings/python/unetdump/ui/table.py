"""The extension's table of the selected layers: name, shape at this size, what it is."""

from __future__ import annotations

from collections.abc import Collection
from html import escape

from unetdump.model import Model

from .blocks import describe


def table(model: Model, width_px: int, height_px: int, chosen: Collection[str], able: Collection[str] | None = None) -> str:
    """HTML, a row for each block; a click on a row means its block. able: those that can be chosen."""
    rows = [
        f'<tr class="{"on" if block.name in chosen else "off"}" data-block="{escape(block.name)}"><td>{escape(block.name)}</td>'
        f"<td>{block.shape}</td><td>{escape(block.what)}</td></tr>"
        for block in describe(model, width_px, height_px)
        if able is None or block.name in able
    ]
    head = "<thead><tr><th>Name</th><th>Output shape</th><th>What it is</th></tr></thead>"
    return f'<table class="blocks">{head}<tbody>{"".join(rows)}</tbody></table>'
