"""What fields of numbers and files hold, as it came: a browser lets people type what they want."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from unetdump.errors import bad_argument

EXACT = (1 << 53) - 1  # whole numbers up to here are the same in a browser
# What the page calls them.
WHOLE = {"steps": "Sampling steps", "width": "Width", "height": "Height", "batch": "Batch size", "clip_skip": "Clip skip"}
SEEDS = {"seed": "Seed", "variation_seed": "Variation seed"}
PARTS = {"cfg": "CFG Scale", "variation_strength": "Variation strength", "strength": "Denoising strength"}
# What the command takes, as far as anybody would ask for it. Sliders end where the webui's do: a picture's parameters may lie beyond.
RANGES = {"steps": (1, 1000), "cfg": (0.5, 100), "width": (8, 4096), "height": (8, 4096), "clip_skip": (1, 32)}
RANGES |= {"variation_strength": (0, 1), "strength": (0, 1), **dict.fromkeys(SEEDS, (-1, EXACT))}


def fits(name: str, value: Any) -> bool:
    """Whether a field can have a value."""
    return name not in RANGES or RANGES[name][0] <= value <= RANGES[name][1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _whole(value: Any, label: str) -> int:
    if not _is_number(value) or value != int(value) or abs(value) > EXACT:
        raise bad_argument(label, f"a whole number up to {EXACT}", "nothing" if value is None else value)
    return int(value)


def _part(value: Any, label: str) -> float:
    if not _is_number(value):
        raise bad_argument(label, "a number", "nothing" if value is None else value)
    return float(value)


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Of the fields those that are numbers; a seed that is not there is any, -1. Raises ArgumentError by the field's label."""
    found: dict[str, float] = {name: _whole(values[name], label) for name, label in WHOLE.items()}
    found |= {name: -1 if values[name] is None else _whole(values[name], label) for name, label in SEEDS.items()}
    return found | {name: _part(values[name], label) for name, label in PARTS.items()}


def count(value: Any) -> int:
    """For what is shown while somebody types: the nearest number that can be."""
    return max(round(value), 1) if _is_number(value) else 1


def file(value: Any) -> Path | None:
    """Where the server has a file that it was given."""
    return Path(value["path"]) if value else None
