"""Contexts that a function changes before a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from ._c import ffi, lib
from .contexts import Context, Table
from .errors import bad_argument, check, new_error, text
from .model import Model
from .notation import Prompt, parse_prompt
from .options import Struct

EditContext = Callable[[str, NDArray[np.float32]], None]


def _edit(edit: EditContext, context: Context) -> Context:
    values = context.values
    try:
        returned = edit(context.text, values)  # type: ignore[func-returns-value]
    except StopIteration as stop:  # which whoever loops over a stream would take for its end
        raise RuntimeError("edit_context raised StopIteration") from stop
    if returned is not None:
        raise TypeError("edit_context: expected None, found a returned value: change the array in place, values[...] = ...")
    return context.replace(values)


class EditedTable:
    """A table whose distinct contexts have the values that `edit` leaves."""

    def __init__(self, table: Table, edit: EditContext) -> None:
        """Calls `edit` with each context's text and values. Raises what it raises; ArgumentError (a value that is not finite)."""
        self._table = table
        self._entries: list[tuple[str, int, Context, Context]] = []  # block, row, what is there, what takes its place
        made: dict[int, Context] = {}
        for block in table.model.blocks:
            for row in range(table.rows):
                context = table.get(block.name, row)
                if context is None:
                    continue
                address = int(ffi.cast("intptr_t", context.handle))
                if address not in made:
                    made[address] = _edit(edit, context)
                self._entries.append((block.name, row, context, made[address]))

    @contextmanager
    def put_in(self) -> Iterator[Table]:
        """The table itself, with the edited contexts as long as this lasts: its weights of AND's parts are nowhere else."""
        try:
            for block, row, _, edited in self._entries:
                self._table.set(edited, block, row)
            yield self._table
        finally:
            for block, row, context, _ in self._entries:
                self._table.set(context, block, row)


def _counts(model: Model, options: Struct) -> tuple[int, int]:
    """What prompts' schedules count: of how many steps they are, and how many the run takes."""
    asked, count, error = ffi.new("udump_generate_options *", options.handle[0]), ffi.new("int32_t *"), new_error()
    check(lib.udump_evaluations_count(model.handle, asked, count, error), error)
    taken = int(count[0])
    asked.init = asked.strength = ffi.NULL
    check(lib.udump_evaluations_count(model.handle, asked, count, error), error)
    steps = int(asked.steps) or 20
    second_order = count[0] >= 2 * steps - 1 > 1
    return 2 * steps if second_order else steps, taken


def _changes(prompt: Prompt, taken: int) -> bool:
    return any(entries[0].until < taken for entries in prompt.schedules.values())


def _joins(prompt: Prompt) -> bool:
    """Whether the negative prompt is run whatever cfg is."""
    parts = [entries[0].parts for entries in prompt.schedules.values()]
    return any(len(joined) > 1 or joined[0].weight != 1 for joined in parts)


def refuse_changing(model: Model, options: Struct) -> None:
    """Raises ArgumentError for prompts that change over the steps: a table holds what they are at step 1."""
    (steps, taken), o = _counts(model, options), options.handle
    prompt = parse_prompt(text(o.prompt), steps, model=model)
    found = [("", text(o.prompt))] if _changes(prompt, taken) else []
    if o.cfg != 1 or _joins(prompt):
        negative = text(o.negative_prompt)
        found += [("the negative prompt ", negative)] if _changes(parse_prompt(negative, steps, negative=True, model=model), taken) else []
    for which, changing in found:
        raise bad_argument("edit_context", "prompts that stay the same over the steps", f"{which}{changing!r}")
