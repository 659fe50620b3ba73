"""What the command warns of, as Python's warnings."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from ._c import ffi, lib
from .errors import NotationError, bad_argument, c_text, check, new_error
from .model import Model
from .notation import parse_layers
from .options import Struct

_STEPS = ("feature_steps", "attention_steps", "diff_steps")


def warn(message: str) -> None:
    """A UserWarning at the line that called the package."""
    level, frame = 1, sys._getframe()
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] == "unetdump":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)


def warn_about_steps(model: Model, options: Struct, given: dict[str, Any]) -> None:
    """One for each step spec some of whose steps lie past the run's last. Specs that do not parse are the run's to refuse."""
    specs = {name: given[name] for name in _STEPS if given.get(name)}
    if not specs:
        return
    count, beyond, error = ffi.new("int32_t *"), ffi.new("int32_t *"), new_error()
    check(lib.udump_evaluations_count(model.handle, options.handle, count, error), error)
    selected = ffi.new("uint8_t[]", count[0])
    for name, spec in specs.items():
        status = lib.udump_steps_parse(c_text(spec, name), count[0], selected, beyond, ffi.NULL)
        if status == lib.UDUMP_OK and any(selected) and beyond[0]:
            warn(f"{name}: {beyond[0]} of the steps named lie past the last, {count[0]}")


def refuse_without_attention(model: Model, spec: str | None) -> None:
    """Raises ArgumentError where none of the blocks that `attention` names has any."""
    try:
        names = parse_layers(spec, model) if spec is not None else []
    except NotationError:  # the run's to refuse
        return
    if names and not any(block.attention_depth for block in model.blocks if block.name in names):
        raise bad_argument("attention", "blocks of which some have attention", repr(spec))


def warn_about_values(bad: int) -> None:
    """Where pictures have values that are no numbers."""
    if bad:
        warn(f"{bad} values of the decoded pictures are no numbers (NaN or infinite), and drawn black or white")
