"""Colorization, in the extension's words: the library's colour and transform, and how they look while they are typed."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np

from unetdump._c import lib
from unetdump.errors import Error, NotationError
from unetdump.html import figure, png
from unetdump.rendering import render
from unetdump.views import Array

from .problems import show

METHODS = ("White/Black", "Red/Blue", "Custom")
SPACES = ("RGB", "HSL")
TRANSFORMS = ("Auto [0,1]", "Auto [-1,1]", "Auto [0,1], all tiles", "Auto [-1,1], all tiles", "Linear", "Sigmoid")
DEFAULTS = {"RGB": ("abs(v)", "abs(v)", "abs(v)"), "HSL": ("(2+v)/3", "1.0", "0.5")}
RAMP_WIDTH, RAMP_HEIGHT = 400, 22


@dataclass(frozen=True)
class Colours:
    """What the panel says."""

    method: str = "Custom"
    space: str = "HSL"
    expressions: tuple[str, str, str] = DEFAULTS["HSL"]
    transform: str = "Auto [0,1]"
    clamp: tuple[float, float] = (-1, 1)
    sigmoid: tuple[float, float] = (1, 0)  #: gain, offset

    @property
    def color(self) -> str:
        """As the library has it. Raises NotationError for what would not stay in its expression."""
        plain = {"White/Black": "white-black", "Red/Blue": "red-blue"}
        if self.method in plain:
            return plain[self.method]
        for name, expression in zip(self.space, self.expressions, strict=True):
            if (at := expression.find(";")) >= 0:
                what, expected = "an expression ends here", "no semicolon"
                place = {"where": name, "offset": at, "line": 1, "column": at + 1}
                raise NotationError(f"{name}: {what}", lib.UDUMP_ERROR_SYNTAX, what=what, expected=expected, **place)
        return f"{self.space.lower()}:{';'.join(self.expressions)}"

    @property
    def transformed(self) -> str:
        """As the library has it."""
        plain = {"Auto [0,1]": "auto01", "Auto [-1,1]": "auto11"}
        plain |= {f"{label}, all tiles": f"{name}:canvas" for label, name in plain.items()}
        name, numbers = ("linear", self.clamp) if self.transform == "Linear" else ("sigmoid", self.sigmoid)
        return plain.get(self.transform) or f"{name}:{numbers[0]:g},{numbers[1]:g}"

    def place(self, failure: Error) -> tuple[str, Error]:
        """The expression that a failure of `color` is in, and the failure with the place in that expression."""
        begin, which = len(self.space) + 1, 0
        while which < 2 and failure.offset > begin + len(self.expressions[which]):
            begin += len(self.expressions[which]) + 1
            which += 1
        detail = {name: getattr(failure, name) for name in ("what", "expected", "found", "line")}
        placed = {"offset": failure.offset - begin, "column": failure.column - begin, "where": self.space[which]}
        return self.expressions[which], type(failure)(str(failure), failure.status, **detail, **placed)


def preview(colours: Colours, sample: tuple[str, Array] | None = None) -> str:
    """HTML: the colours from a tile's lowest value to its highest, or what is wrong with them.

    sample: a title and a [channels, h, w] array of the last run, which is shown too.
    """
    ramp = np.broadcast_to(np.linspace(-1, 1, RAMP_WIDTH, dtype=np.float32), (1, RAMP_HEIGHT, RAMP_WIDTH))
    try:
        picture = render(ramp, color=colours.color, transform=colours.transformed)
    except Error as failure:
        if failure.where in tuple(colours.space):
            return show(failure, colours.expressions[colours.space.index(failure.where)])
        if failure.where != "color" or failure.offset < 0:
            return show(failure)
        text, placed = colours.place(failure)
        return show(placed, text)
    shown = figure(picture, "from a tile's lowest value to its highest")
    if colours.transform in ("Linear", "Sigmoid"):
        shown = figure(picture, "values from -1 to 1")
    if sample is not None:
        title, values = sample
        shown += figure(render(values, color=colours.color, transform=colours.transformed), title)
    return f'<div class="preview" title="{escape(colours.color)}, {escape(colours.transformed)}">{shown}</div>'


def tile(values: Array) -> bytes:
    """A [h, w] map as a small picture in the page's heat colours, PNG."""
    return png(render(values[None], color=HEAT))


HEAT = "rgb:sqrt(v);v**3;maximum(sin(2*pi*v),0)"  # black, violet, red, yellow: gnuplot's
