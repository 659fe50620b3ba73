"""What specs and prompts mean: blocks, steps, every block's prompt and schedule, tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._c import ffi, lib
from .errors import c_text, check, new_error, of_kind, text
from .model import Model


def _handle(model: Model | None) -> Any:
    """A model's handle; NULL of None. Raises TypeError."""
    return ffi.NULL if model is None else of_kind(model, Model, "model").handle


def block_names(model: Model | None = None) -> list[str]:
    """All blocks in order, "IN00" first; without a model SD 1's 25."""
    names: list[str] = []
    handle = _handle(model)
    while (name := lib.udump_block_name(handle, len(names))) != ffi.NULL:
        names.append(text(name))
    return names


def parse_layers(spec: str, model: Model | None = None) -> list[str]:
    """The blocks that a layer spec names: "IN00,M00-OUT11(+2)"; "" is all. Raises NotationError, with the position."""
    names = block_names(model)
    selected, error = ffi.new("uint8_t[]", len(names)), new_error()
    check(lib.udump_layers_parse(_handle(model), c_text(spec, "spec"), selected, len(names), error), error)
    return [name for name, chosen in zip(names, selected, strict=True) if chosen]


def parse_steps(spec: str, total: int = 20) -> list[int]:
    """The steps of 1..total that a step spec names: "1,5,10-20(+5)"; "" is all. Raises NotationError, ArgumentError."""
    selected, error = ffi.new("uint8_t[]", max(total, 1)), new_error()
    check(lib.udump_steps_parse(c_text(spec, "spec"), total, selected, ffi.NULL, error), error)
    return [i + 1 for i, chosen in enumerate(selected) if chosen]


@dataclass(frozen=True)
class Part:
    """One side of an AND; a prompt without AND has one part of weight 1."""

    text: str
    weight: float
    pieces: tuple[tuple[str, float], ...]  #: runs of text of one weight; ("BREAK", -1) starts a new chunk


@dataclass(frozen=True)
class Entry:
    """What a block's prompt is until an evaluation, that one included."""

    until: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Prompt:
    """A prompt, taken apart."""

    blocks: dict[str, str]  #: each block's own prompt, layer prompts resolved
    schedules: dict[str, tuple[Entry, ...]]  #: each block's entries, in order of steps
    erased: str  #: the prompt without its layer prompts


def _part(part: Any) -> Part:
    pieces = tuple((text(piece.text), piece.weight) for piece in ffi.unpack(part.pieces, part.piece_count))
    return Part(text(part.text), part.weight, pieces)


def _schedule(prompt: Any, block: int) -> tuple[Entry, ...]:
    count = ffi.new("int32_t *")
    entries = lib.udump_prompt_schedule(prompt, block, count)
    return tuple(Entry(e.until, tuple(_part(p) for p in ffi.unpack(e.parts, e.part_count))) for e in ffi.unpack(entries, count[0]))


def parse_prompt(prompt: str, steps: int = 20, *, negative: bool = False, model: Model | None = None) -> Prompt:
    """Every block's prompt and schedule in a run of `steps` steps.

    negative: as a negative prompt, in which AND is a word.
    Raises NotationError (with line, column, offset), UnsupportedError, ArgumentError.
    """
    held, error = ffi.new("udump_prompt **"), new_error()
    check(lib.udump_prompt_parse(_handle(model), c_text(prompt, "prompt"), steps, negative, held, error), error)
    try:
        names = block_names(model)
        blocks = {name: text(lib.udump_prompt_block(held[0], i)) for i, name in enumerate(names)}
        schedules = {name: _schedule(held[0], i) for i, name in enumerate(names)}
        return Prompt(blocks, schedules, text(lib.udump_prompt_erased(held[0])))
    finally:
        lib.udump_prompt_free(held[0])


@dataclass(frozen=True)
class Token:
    """One of CLIP's tokens."""

    id: int
    text: str
    weight: float
    chunk: int
    column: int  #: in attention maps: 77 x chunk + 1 + position


def tokens(prompt: str) -> list[Token]:
    """CLIP's tokens of one fixed prompt, without start, end and padding. Raises NotationError, UnsupportedError, ArgumentError."""
    count, error, encoded = ffi.new("int32_t *"), new_error(), c_text(prompt, "prompt")
    check(lib.udump_tokens(encoded, ffi.NULL, 0, count, error), error)
    found = ffi.new("udump_token[]", count[0])
    check(lib.udump_tokens(encoded, found, count[0], count, error), error)
    return [Token(t.id, text(t.text), t.weight, t.chunk, t.column) for t in found]
