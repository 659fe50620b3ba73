"""Encoded prompts, and tables of which block attends to which."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._c import ffi, lib
from .errors import bad_argument, check, new_error, of_kind, text
from .model import Model
from .owner import Owner
from .places import Column
from .views import Array, copy, to_view


class Context(Owner):
    """One encoded prompt, [tokens, context_dim]. Immutable, shared by threads; holds its model."""

    def __init__(self, model: Model, handle: Any) -> None:
        """Takes the reference that `handle` is."""
        self.model = model
        self.handle = ffi.gc(handle, lib.udump_context_release)

    @classmethod
    def from_array(cls, model: Model, values: NDArray[Any], pooled: NDArray[Any] | None = None) -> Context:
        """From your own values, [tokens, context_dim] (copied), for SDXL with the pooled vector, [pooled_dim]. It has no words.

        Raises ArgumentError (a shape, a value that is not finite).
        """
        held, error = ffi.new("udump_context **"), new_error()
        view, _values = to_view(np.asarray(values))
        check(lib.udump_context_from_tensor(model.handle, view, held, error), error)
        context = cls(model, held[0])
        context._set_pooled(pooled)
        return context

    def replace(self, values: NDArray[Any], pooled: NDArray[Any] | None = None) -> Context:
        """Another context of the same text and columns with your own values, [tokens, context_dim] (copied).

        pooled: SDXL's pooled vector, [pooled_dim]; None keeps it. Raises ArgumentError (the shape, a value that is not finite).
        """
        held, error = ffi.new("udump_context **"), new_error()
        view, _values = to_view(np.asarray(values))
        check(lib.udump_context_replace(self.handle, view, held, error), error)
        context = Context(self.model, held[0])
        context._set_pooled(pooled)
        return context

    def _set_pooled(self, pooled: NDArray[Any] | None) -> None:
        if pooled is not None:
            error = new_error()
            view, _pooled = to_view(np.asarray(pooled))
            check(lib.udump_context_set_pooled(self.handle, view, error), error)

    @property
    def values(self) -> Array:
        """A copy of the values, [tokens, context_dim]: change it, and `replace` makes another context of it."""
        view = ffi.new("udump_view *")
        lib.udump_context_get_view(self.handle, view)
        return copy(view)

    @property
    def pooled(self) -> Array | None:
        """A copy of SDXL's pooled vector, [pooled_dim]; None for other families."""
        view = ffi.new("udump_view *")
        return copy(view) if lib.udump_context_get_pooled(self.handle, view) else None

    @property
    def text(self) -> str:
        """What it was encoded from; "" for one made from an array."""
        return text(lib.udump_context_text(self.handle))

    @property
    def columns(self) -> tuple[Column, ...]:
        """Its tokens, [tokens]; empty for one made from an array."""
        columns = lib.udump_context_columns(self.handle)
        view = ffi.new("udump_view *")
        lib.udump_context_get_view(self.handle, view)
        return columns_of(columns, view.shape[0])

    def __repr__(self) -> str:
        """Text and shape."""
        return f"<context {self.text!r} {list(self.values.shape)}>"


def columns_of(columns: Any, count: int) -> tuple[Column, ...]:
    """The library's columns, or nothing for NULL."""
    if columns == ffi.NULL:
        return ()
    return tuple(Column(c.id, text(c.text), c.word, c.weight) for c in ffi.unpack(columns, count))


class Table(Owner):
    """For every block and every row of the batch, the context it attends to.

    Rows: the prompt's rows of all images (in a run with a diff followed by those of their twins), for each further prompt of an AND the
    same again, then the negative prompt's in the same order. One thread at a time uses a table.
    """

    def __init__(self, model: Model, rows: int | None = None, *, handle: Any = None) -> None:
        """An empty one of so many rows, 1 to 2048. Raises ArgumentError, OutOfMemoryError."""
        if handle is None:
            held, error = ffi.new("udump_table **"), new_error()
            check(lib.udump_table_create(model.handle, rows or 0, held, error), error)
            handle = held[0]
        self.model = model
        self.handle = ffi.gc(handle, lib.udump_table_free)

    @property
    def rows(self) -> int:
        """How many rows."""
        return int(lib.udump_table_rows(self.handle))

    def _block(self, block: str | None) -> int:
        if block is None:
            return -1
        return self.model.block_index(block)

    def set(self, context: Context, block: str | None = None, row: int | None = None) -> None:
        """Sets one entry; without a block or row all blocks or all rows. Raises ArgumentError."""
        error = new_error()
        if row is not None and row not in range(self.rows):
            raise bad_argument("row", f"0 to {self.rows - 1}", repr(row))
        handle = of_kind(context, Context, "context").handle
        check(lib.udump_table_set(self.handle, self._block(block), -1 if row is None else row, handle, error), error)

    def get(self, block: str, row: int) -> Context | None:
        """An entry; None if it is not set or out of range."""
        handle = lib.udump_table_get(self.handle, self._block(block), row)
        if handle == ffi.NULL:
            return None
        lib.udump_context_retain(handle)
        return Context(self.model, handle)
