"""What the library calls while a run goes on: results go into a store, blocks' outputs to hooks, the first exception to the caller."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._c import ffi, lib
from .contexts import columns_of
from .errors import text
from .pictures import from_picture
from .places import Canvas, DiffNorms, Place, RunContext, RunInfo, RunPrompt
from .progress import Listener, Progress
from .results import Store
from .views import Array, borrow, copy, from_bf16, shape_of, to_bf16

Hook = Callable[[Place, NDArray[Any]], None]
Keep = Callable[[Place, NDArray[Any]], "NDArray[Any] | None"]

_KINDS = {
    lib.UDUMP_KIND_FEATURES: "features",
    lib.UDUMP_KIND_DIFF: "diff",
    lib.UDUMP_KIND_K: "k",
    lib.UDUMP_KIND_QK: "qk",
    lib.UDUMP_KIND_VQK: "vqk",
    lib.UDUMP_KIND_WORDS: "words",
    lib.UDUMP_KIND_SELF_QUERIES: "self-queries",
    lib.UDUMP_KIND_SELF_RECEIVED: "self-received",
    lib.UDUMP_KIND_SELF_ENTROPY: "self-entropy",
    lib.UDUMP_KIND_SELF_PCA: "self-pca",
    lib.UDUMP_KIND_SELF_MAP: "self-map",
    lib.UDUMP_KIND_HEAT: "heat",
    lib.UDUMP_KIND_OVERLAY: "overlay",
}
_VARIANTS = {lib.UDUMP_VARIANT_ENABLED: "enabled", lib.UDUMP_VARIANT_ERASED: "erased", lib.UDUMP_VARIANT_OTHER: "other"}
_SIDES = {lib.UDUMP_SIDE_COND: "cond", lib.UDUMP_SIDE_UNCOND: "uncond", lib.UDUMP_SIDE_BOTH: "both"}


class Listening:
    """What the library calls back, as its `user`; keeps the exception that ended a run."""

    def __init__(self) -> None:
        """Nothing was raised yet."""
        self.failure: BaseException | None = None
        self.handle = ffi.new_handle(self)

    def raise_failure(self) -> None:
        """Raises what a callback raised, once; RuntimeError from a StopIteration, which loops would take for their end."""
        failure, self.failure = self.failure, None
        if isinstance(failure, StopIteration):
            raise RuntimeError("a callback raised StopIteration") from failure
        if failure is not None:
            raise failure


class Receiver(Listening):
    """Takes a run's results, and hands them on to a folder's sink (which may be NULL)."""

    def __init__(
        self,
        listeners: Sequence[Listener] = (),
        hooks: Sequence[tuple[str, Hook]] = (),
        folder: Any = ffi.NULL,
        keep: Keep | None = None,
        *,
        tensors: bool = True,
        side: str = "cond",
    ) -> None:
        """hooks: block and function, called in this order. keep: see `RunOptions`. tensors: whether they are kept; side: whose are made."""
        super().__init__()
        self.store, self.listeners, self.hooks, self.folder = Store(side=side), listeners, hooks, folder
        self.keep, self.tensors = keep or (lambda _, values: values), tensors
        self.sink = ffi.new("udump_sink *", {"struct_bytes": ffi.sizeof("udump_sink"), "user": self.handle})
        for name in ("begin", "canvas", "tensor", "part", "diff", "image", "progress"):
            setattr(self.sink, name, getattr(lib, f"sink_{name}"))

    def forward(self, name: str, *values: Any) -> int:
        """Hands the values to the folder; what it answers."""
        function = ffi.NULL if self.folder == ffi.NULL else getattr(self.folder, name)
        return int(lib.UDUMP_CONTINUE if function == ffi.NULL else function(self.folder.user, *values))


def _keep_failure(_kind: Any, failure: BaseException, trace: Any) -> None:
    """The exception of a callback: kept for the run's caller. The outermost frame is the callback's, whose first argument is `user`."""
    listening: Listening = ffi.from_handle(trace.tb_frame.f_locals["user"])
    listening.failure = listening.failure or failure


callback = ffi.def_extern(onerror=_keep_failure, error=lib.UDUMP_STOP)


def place_of(place: Any) -> Place:
    """A udump_place."""
    return Place(
        _KINDS[place.kind],
        place.image,
        _VARIANTS[place.variant],
        text(place.block),
        place.depth,
        place.step,
        place.sampler_step,
        place.sigma,
        place.timestep,
        _SIDES[place.side],
        place.context,
        text(place.word),
        place.part,
    )


def _run_of(run: Any) -> RunInfo:
    contexts = [
        RunContext(text(c.text), c.tokens, columns_of(c.columns, c.tokens)) for c in ffi.unpack(run.contexts, run.context_count)
    ]
    prompts = [
        RunPrompt(text(p.block), _SIDES[p.side], _VARIANTS[p.variant], p.context, p.until, p.part, p.weight)
        for p in ffi.unpack(run.prompts, run.prompt_count)
    ]
    names = ["prompt", "negative_prompt", "sampler", "schedule", "rng", "model", "model_hash", "infotext"]
    names += ["device", "device_note", "precision", "loras", "other_model", "other_loras"]
    numbers = ["seed", "cfg", "width_px", "height_px", "steps", "batch_size", "batch_count", "evaluations", "tensor_bytes", "picture_bytes"]
    numbers += ["steps_asked"]
    told: dict[str, Any] = {name: text(getattr(run, name)) for name in names}
    told.update((name, getattr(run, name)) for name in numbers)
    return RunInfo(
        **told,
        contexts=tuple(contexts),
        prompts=tuple(prompts),
        words=tuple(text(word) for word in _list(run.words, run.word_count)),
        skipped=tuple(text(block) for block in _list(run.skipped, run.skipped_count)),
    )


def _list(pointer: Any, count: int) -> list[Any]:
    return list(ffi.unpack(pointer, count)) if count else []


@callback  # type: ignore[untyped-decorator]
def sink_begin(user: Any, run: Any) -> int:
    """The run, before its first step; of several batches the first is the run's."""
    receiver: Receiver = ffi.from_handle(user)
    receiver.store.run = receiver.store.run or _run_of(run)
    return receiver.forward("begin", run)


@callback  # type: ignore[untyped-decorator]
def sink_canvas(user: Any, canvas: Any) -> int:
    """One picture of tiles."""
    receiver: Receiver = ffi.from_handle(user)
    c, place = canvas, place_of(ffi.addressof(canvas, "place"))
    words = text(c.infotext)
    picture = from_picture(c.picture, words)
    receiver.store.canvases.append(Canvas(picture, place, bool(c.average), c.columns, c.rows, c.tile_width_px, c.tile_height_px))
    return receiver.forward("canvas", canvas)


def _take_tensor(receiver: Receiver, where: Place, values: Array) -> None:
    kept = values if where.kind == "heat" else receiver.keep(where, values)
    if kept is None:
        return
    receiver.store.tensors.setdefault(where.key(), {})[where.step] = kept
    if where.context >= 0:
        receiver.store.contexts.setdefault(where.key(), {})[where.step] = where.context


def _take_part(receiver: Receiver, where: Place, values: Array, *, shape: tuple[int, ...], axis: int, first: int) -> None:
    """shape: the whole array's; axis, first: where the values stand in it."""
    rows = receiver.keep(where, values)
    if rows is None:
        return
    steps = receiver.store.tensors.setdefault(where.key(), {})
    if where.step not in steps:
        steps[where.step] = np.empty((*rows.shape[:axis], shape[axis], *rows.shape[axis + 1 :]), rows.dtype)
    steps[where.step][(slice(None),) * axis + (slice(first, first + rows.shape[axis]),)] = rows


@callback  # type: ignore[untyped-decorator]
def sink_tensor(user: Any, place: Any, tensor: Any) -> int:
    """One array of values: copied once, since the library's memory is used again."""
    receiver: Receiver = ffi.from_handle(user)
    if receiver.tensors:
        _take_tensor(receiver, place_of(place), copy(tensor))
    return receiver.forward("tensor", place, tensor)


@callback  # type: ignore[untyped-decorator]
def sink_part(user: Any, place: Any, whole: Any, axis: int, first: int, part: Any) -> int:  # noqa: PLR0917 (as C calls it)
    """Some rows of an array that the library never holds whole."""
    receiver: Receiver = ffi.from_handle(user)
    if receiver.tensors:
        _take_part(receiver, place_of(place), copy(part), shape=shape_of(whole), axis=axis, first=first)
    return receiver.forward("part", place, whole, axis, first, part)


@callback  # type: ignore[untyped-decorator]
def sink_diff(user: Any, place: Any, norms: Any) -> int:
    """How far a block's output moved."""
    receiver: Receiver = ffi.from_handle(user)
    where = place_of(place)
    moved = DiffNorms(norms.l2, norms.relative_l2, norms.max, norms.cosine)
    receiver.store.norms.setdefault(where.key(), {})[where.step] = moved
    return receiver.forward("diff", place, norms)


@callback  # type: ignore[untyped-decorator]
def sink_image(user: Any, image: int, variant: int, picture: Any, infotext: Any) -> int:
    """A finished picture."""
    receiver: Receiver = ffi.from_handle(user)
    receiver.store.images[image, _VARIANTS[variant]] = from_picture(picture, text(infotext))
    return receiver.forward("image", image, variant, picture, infotext)


@callback  # type: ignore[untyped-decorator]
def sink_progress(user: Any, progress: Any) -> int:
    """One more step: here a Ctrl-C that came meanwhile is raised, too."""
    receiver: Receiver = ffi.from_handle(user)
    for listener in receiver.listeners:
        listener(Progress(progress.step, progress.steps, progress.seconds, progress.seconds_per_step))
    return receiver.forward("progress", progress)


@callback  # type: ignore[untyped-decorator]
def block_hook(user: Any, place: Any, view: Any) -> int:
    """A block's output, which hooks may change in place."""
    receiver: Receiver = ffi.from_handle(user)
    where = place_of(place)
    for block, hook in receiver.hooks:
        if block == where.block:
            _call_hook(hook, where, view)
    return int(lib.UDUMP_CONTINUE)


def _references_of_one() -> int:
    """What `sys.getrefcount` says of an object that one local variable holds: a call counts it too, up to Python 3.13."""
    fresh = object()
    return sys.getrefcount(fresh)


_ALONE = _references_of_one()


def _call_hook(hook: Hook, where: Place, view: Any) -> None:
    memory, holder = borrow(view)
    seen = from_bf16(memory) if view.dtype == lib.UDUMP_BF16 else memory.view()
    if hook(where, seen) is not None:  # type: ignore[func-returns-value]
        raise TypeError(f"a hook of {where.block}: expected None, found a returned value: change the array in place, output[...] = ...")
    if view.dtype == lib.UDUMP_BF16:
        memory[...] = to_bf16(seen)
    del seen, memory
    if sys.getrefcount(holder) > _ALONE:
        raise RuntimeError(f"a hook of {where.block} kept its array, whose memory the run uses again: keep array.copy()")
