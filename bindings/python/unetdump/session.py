"""Sessions: runs, whole or step by step."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from types import NoneType
from typing import Any

from numpy.typing import NDArray

from ._c import ffi, lib
from .contexts import Context, Table
from .editing import EditContext, EditedTable, refuse_changing
from .errors import StateError, bad_argument, c_text, check, function, new_error, of_kind
from .folder import Folder
from .model import Model
from .notation import parse_layers
from .notices import refuse_without_attention, warn_about_steps, warn_about_values
from .options import Options, Struct, fill
from .owner import Owner
from .progress import Bar, Listener
from .results import Result
from .sink import Hook, Keep, Receiver
from .typed import Unpack
from .views import Array, borrow, copy


class RunOptions(Options, total=False):
    """`Options`, and what a run does besides."""

    progress: bool | Listener  #: True: tqdm's bar where it is installed; or a function of a Progress
    #: by layer spec: called with a Place and the output, [rows, h, w, channels], which it may change in place
    hooks: Mapping[str, Hook] | None
    #: called with each context's text and values, [tokens, context_dim], to be changed in place; not of prompts that change over the steps
    edit_context: EditContext
    table: Table  #: other contexts than the prompts'
    other: Model  #: `diff` compares with this model instead of with no layer prompts
    output: str | os.PathLike[str]  #: also write everything to this folder, as the command does
    dump: str  #: what `output` gets of the values, whatever `tensors` says: "npy", "bin" or "safetensors"
    force: bool  #: begin even where the disk may be too small
    #: called with a Place and every array but heat as it is made, a self-map's parts one by one: what it gives is kept instead, None
    #: nothing. It may be an array of fewer heads or values of another type; where place.kind is "qk", `values.mean(0, keepdims=True)`
    #: is the mean over heads
    keep: Keep


GiveBack = Callable[["Session"], None]
_OURS = ("progress", "hooks", "edit_context", "table", "other", "output", "dump", "force", "keep")


class Session(Owner):
    """Runs one generation at a time, in one thread at a time; keeps its memory and plans for later runs of the same size."""

    def __init__(self, model: Model, handle: Any = ffi.NULL) -> None:
        """On a model, which it holds; handle: a session that is there already. Raises OutOfMemoryError."""
        self.model, self.handle = model, handle
        if handle == ffi.NULL:
            held, error = ffi.new("udump_session **"), new_error()
            check(lib.udump_session_create(model.handle, held, error), error)
            self.handle = held[0]

    def release(self) -> Any:
        """Gives the handle away: nothing can be run here any more."""
        handle, self.handle = self.handle, ffi.NULL
        return handle

    def __del__(self) -> None:
        """Frees its memory, ending a run that is going on."""
        lib.udump_session_destroy(self.release())

    @property
    def bad_values(self) -> int:
        """How many values of the last run's decoded pictures were NaN or infinite."""
        return int(lib.udump_session_bad_values(self.handle))

    def generate(self, prompt: str | None = None, **options: Unpack[RunOptions]) -> Result:
        """As `Model.generate`."""
        if options.get("table") is not None or options.get("edit_context") is not None:  # what only a stepped run takes
            stream = self.stream(prompt, **options)
            for _ in stream:
                pass
            return stream.result
        run, error, whole = _Run(self, prompt, dict(options)), new_error(), False
        try:
            run.enter()
            run.check(lib.udump_generate(self.handle, run.options.handle, run.receiver.sink, error), error)
            whole = True
        finally:
            run.leave(keep=whole)
        return Result(run.receiver.store)

    def stream(self, prompt: str | None = None, give_back: GiveBack | None = None, **options: Unpack[RunOptions]) -> Stream:
        """As `Model.stream`. give_back is called with the session when the run has ended."""
        return Stream(self, prompt, dict(options), give_back)

    def encode(self, prompt: str) -> Context:
        """As `Model.encode`."""
        held, error = ffi.new("udump_context **"), new_error()
        check(lib.udump_context_encode(self.handle, c_text(prompt, "prompt"), held, error), error)
        return Context(self.model, held[0])

    def table(self, prompt: str | None = None, **options: Unpack[Options]) -> Table:
        """As `Model.table`."""
        return self._table(fill(prompt, dict(options)))

    def _table(self, options: Struct) -> Table:
        held, error = ffi.new("udump_table **"), new_error()
        check(lib.udump_table_encode(self.handle, options.handle, held, error), error)
        return Table(self.model, handle=held[0])


def _ours(given: dict[str, Any]) -> dict[str, Any]:
    """Takes a run's own options out of what was given; None is not given. Raises TypeError (another type, one that needs another)."""
    ours = {name: value for name in _OURS if (value := given.pop(name, None)) is not None}
    for name, kind in (("hooks", Mapping), ("table", Table), ("other", Model)):
        of_kind(ours.get(name), (kind, NoneType), name, kind.__name__)
    functions = {f"hooks, {spec!r}": hook for spec, hook in ours.get("hooks", {}).items()}
    functions |= {name: ours[name] for name in ("edit_context", "keep") if name in ours}
    if not isinstance(ours.get("progress", False), bool):
        functions["progress"] = ours["progress"]
    for name, value in functions.items():
        function(value, name)
    for name, needed in (("dump", "output"), ("force", "output"), ("other", "diff")):
        if ours.get(name) and needed not in ours and given.get(needed) is None:
            raise TypeError(f"{name} needs {needed}")
    return ours


class _Run:
    """What a run needs besides the session: set up by `enter`, taken down by `leave`, however it ended."""

    def __init__(self, session: Session, prompt: str | None, given: dict[str, Any]) -> None:
        ours = _ours(given)
        if "output" in ours:
            given.setdefault("canvases", True)
        tensors, side = given.get("tensors", True), given.get("side", "cond")
        if "dump" in ours:
            given["tensors"] = True  # for the folder
        self.session, self.options = session, fill(prompt, given)
        refuse_without_attention(session.model, given.get("attention"))
        warn_about_steps(session.model, self.options, given)
        self.other: Model | None = ours.get("other")
        self.table: Table | None = ours.get("table")
        self._edited = self._edit(ours["edit_context"]) if "edit_context" in ours else None
        progress = ours.get("progress", False)
        self.bar = Bar() if progress is True else None
        listeners = [self.bar or progress] if progress else []
        hooks = [(block, hook) for spec, hook in ours.get("hooks", {}).items() for block in parse_layers(spec, session.model)]
        self.folder = Folder(ours["output"], ours.get("dump"), force=ours.get("force", False)) if "output" in ours else None
        sink = self.folder.sink if self.folder else ffi.NULL
        self.receiver = Receiver(listeners, hooks, sink, ours.get("keep"), tensors=tensors, side=side)

    def _edit(self, edit: EditContext) -> EditedTable:
        if self.other is not None:
            raise bad_argument("edit_context", "none in a diff between two models, which each encode the prompts for themselves", "one")
        if self.table:
            return EditedTable(self.table, edit)
        made = self.session._table(self.options)
        refuse_changing(self.session.model, self.options)
        return EditedTable(made, edit)

    def begin(self) -> None:
        """Begins it, to be run step by step."""
        error = new_error()
        with self._edited.put_in() if self._edited else nullcontext(self.table) as table:
            handle = table.handle if table else ffi.NULL
            self.check(lib.udump_begin(self.session.handle, self.options.handle, handle, self.receiver.sink, error), error)

    def enter(self) -> None:
        """Hands the session the other model and the hooks."""
        error, handle = new_error(), self.session.handle
        if self.other is not None:
            check(lib.udump_session_set_other(handle, self.other.handle, error), error)
        for block in {block for block, _ in self.receiver.hooks}:
            index = self.session.model.block_index(block)
            check(lib.udump_session_set_hook(handle, index, lib.block_hook, self.receiver.handle, error), error)

    def check(self, status: int, error: Any) -> None:
        """Raises what a callback raised, else what a writer of the folder ran into, else what the library says."""
        if status != lib.UDUMP_OK:
            self.receiver.raise_failure()
            if self.folder and status == lib.UDUMP_ERROR_CANCELLED:
                self.folder.close(keep=False)
            check(status, error)

    def leave(self, *, keep: bool) -> None:
        """Takes all of it back; `keep`: the run is whole, and the folder gets its manifest."""
        bad_values = self.session.bad_values if keep else 0
        if self.bar:
            self.bar.close()
        if self.session.handle != ffi.NULL:
            lib.udump_session_set_hook(self.session.handle, -1, ffi.NULL, ffi.NULL, ffi.NULL)
        if self.other is not None and self.session.handle != ffi.NULL:
            lib.udump_session_set_other(self.session.handle, ffi.NULL, ffi.NULL)
        if self.folder:
            self.folder.close(keep=keep)
        warn_about_values(bad_values)


class Step:
    """One sampler step that a stream has run."""

    def __init__(self, stream: Stream, index: int, remaining: int) -> None:
        """Made by streams."""
        self._stream = weakref.ref(stream)  # the loop's variable shall not keep a run going that the loop has left
        self._latent: Array | None = None
        self.result = stream.result  #: what was kept so far; on CUDA this step's may come with the next
        self.index = index  #: from 1
        self.remaining = remaining  #: steps left after it

    @property
    def latent(self) -> Array:
        """The latent, [batch, h / 8, w / 8, 4] (with a diff the twins follow): an array of its own. What is written to it goes on.

        Raises StateError if it is first asked for, or set, after the stream went on.
        """
        if self._latent is None:
            self._latent = self._stream_here().read_latent()
        return self._latent

    @latent.setter
    def latent(self, values: NDArray[Any]) -> None:
        self._stream_here()
        self.latent[...] = values

    def _stream_here(self) -> Stream:
        """The stream. Raises StateError if it went on."""
        stream = self._stream()
        if stream is None or not stream.is_at(self):
            raise StateError("the stream has gone on", lib.UDUMP_ERROR_STATE)
        return stream

    def changed_latent(self) -> Array | None:
        """The latent, if anybody asked for it."""
        return self._latent


class Stream(Owner, Iterator[Step]):
    """A run, a sampler step at a time. Leaving the loop early ends the run: nothing more is computed.

    `finish()` decodes the latent as it is, after the last step or before it, and gives the result; a loop that ends by itself has done so.
    """

    def __init__(self, session: Session, prompt: str | None, given: dict[str, Any], give_back: GiveBack | None = None) -> None:
        """Begins the run. give_back is called with the session when the run has ended."""
        self._open, self._give_back, self._session = False, give_back, session
        self._step: Step | None = None
        if (count := given.get("batch_count", 1)) != 1:
            raise bad_argument("batch_count", "1 in a stream, and with table or edit_context; generate makes several", repr(count))
        self._run = _Run(session, prompt, given)
        try:
            self._run.enter()
            self._run.begin()
        except BaseException:
            self._leave(keep=False)
            raise
        self._open = True

    @property
    def result(self) -> Result:
        """What was kept so far."""
        return Result(self._run.receiver.store)

    def __next__(self) -> Step:
        """Runs the next step. Raises as `Model.generate`; the run has then ended."""
        if not self._open:
            raise StopIteration
        if self._step and self._step.remaining == 0:
            self.finish()
            raise StopIteration
        remaining, error = ffi.new("int32_t *"), new_error()
        try:
            self._write_latent()
            self._run.check(lib.udump_step(self._session.handle, remaining, error), error)
        except BaseException:
            self.close()
            raise
        self._step = Step(self, self._step.index + 1 if self._step else 1, remaining[0])
        return self._step

    def finish(self) -> Result:
        """Decodes the latent as it is and ends the run; later calls give the same result. Raises DeviceError, CancelledError."""
        if self._open:
            error, whole = new_error(), False
            try:
                self._write_latent()
                self._open = False
                self._run.check(lib.udump_end(self._session.handle, 1, error), error)
                whole = True
            finally:
                self._leave(keep=whole)
        return self.result

    def close(self) -> None:
        """Ends the run without decoding. A folder gets no manifest. Does nothing after the end."""
        if self._open:
            self._open = False
            if self._session.handle != ffi.NULL:
                lib.udump_end(self._session.handle, 0, ffi.NULL)
            self._leave(keep=False)

    def _leave(self, *, keep: bool) -> None:
        try:
            self._run.leave(keep=keep)
        finally:
            if self._give_back:
                self._give_back(self._session)

    def is_at(self, step: Step) -> bool:
        """Whether the step is the last that was run, and the run goes on."""
        return self._open and step is self._step

    def read_latent(self) -> Array:
        """The latent as it is: a copy."""
        return copy(self._latent_view())

    def _write_latent(self) -> None:
        changed = self._step.changed_latent() if self._step else None
        if changed is not None:
            borrow(self._latent_view())[0][...] = changed

    def _latent_view(self) -> Any:
        view, error = ffi.new("udump_view *"), new_error()
        check(lib.udump_latent_view(self._session.handle, view, error), error)
        return view

    def __enter__(self) -> Stream:
        """For `with`: the run ends with it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the run if it has not ended."""
        self.close()

    def __del__(self) -> None:
        """Ends the run if it has not ended. A session that went first, as in a cycle, has ended it."""
        self._give_back = None
        if getattr(self, "_open", False):
            self.close()
