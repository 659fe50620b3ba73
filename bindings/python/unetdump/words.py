"""Where a word of the prompt stands among a context's columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._c import ffi, lib
from .errors import c_text, check, new_error

if TYPE_CHECKING:
    from .places import Column


def find_words(columns: Sequence[Column], word: str) -> list[int]:
    """The columns of every place where the word stands: its tokens, or the embedding of that name.

    Raises KeyError where it does not, ArgumentError (no word).
    """
    if not columns:
        raise KeyError(f"{word!r}: the context was made from an array, and has no words")
    held = ffi.new("udump_column[]", [(column.id, column.text.encode(), column.word, column.weight) for column in columns])
    found, count, error = ffi.new("int32_t[]", len(columns)), ffi.new("int32_t *"), new_error()
    check(lib.udump_columns_find(held, len(columns), c_text(word, "word"), found, count, error), error)
    if not count[0]:
        known = dict.fromkeys(column.text for column in columns if column.word >= 0)
        raise KeyError(f"{word!r} is no word of the prompt" + (f": its tokens are {', '.join(known)}" if known else ", which has none"))
    return list(ffi.unpack(found, count[0]))
