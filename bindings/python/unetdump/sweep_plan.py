"""A sweep as it is asked for, and the C library's object that plans and makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._c import ffi, lib
from .errors import c_path, check, new_error
from .loading import Source
from .options import Cancel, Struct, fill
from .owner import Owner
from .sink import Listening, callback
from .sweep_results import SweepCell, cell_of

if TYPE_CHECKING:
    from .model import Model


@dataclass(frozen=True)
class SweepProgress:
    """Told before anything is made, after every step, and when a batch's cells are there."""

    cells: int  #: all
    cells_done: int  #: those that were there before, too
    step: int = 0  #: of the batch that is running here: sampler steps finished, and all; 0 on other machines
    steps: int = 0


SweepListener = Callable[[SweepProgress], object]


@dataclass(frozen=True)
class Job:
    """What a sweep is, as another process can be told."""

    source: Source
    prompt: str
    sampling: dict[str, Any]  #: as in `Sampling`, but for `cancel`
    variants: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    lora_weights: tuple[float, ...] = ()
    batch_size: int = 0
    force: bool = False


class Plan(Owner):
    """udump_sweep: the model is loaded, everything checked. For one thread at a time."""

    def __init__(self, job: Job, model: Model | None = None, cancel: Cancel | None = None) -> None:
        """model: the job's, if it is loaded. Raises as `unetdump.sweep`."""
        options, o = Struct("udump_sweep_options"), job.source.struct()
        base = fill(job.prompt, {**job.sampling, "tensors": False, **({"cancel": cancel} if cancel else {})})
        path, sweep = options.path(job.source.path, "model"), options.handle
        sweep.base = base.handle
        sweep.variants, sweep.variant_count = options.texts(job.variants, "variants"), len(job.variants)
        sweep.blocks, sweep.block_count = options.texts(job.blocks, "blocks"), len(job.blocks)
        sweep.seeds, sweep.seed_count = options.keep(ffi.new("uint64_t[]", job.seeds)), len(job.seeds)
        sweep.lora_weights, sweep.lora_weight_count = options.keep(ffi.new("double[]", job.lora_weights)), len(job.lora_weights)
        options.number("batch_size", job.batch_size)
        sweep.force = job.force
        if model is not None:
            sweep.model = model.handle
        held, error = ffi.new("udump_sweep **"), new_error()
        check(lib.udump_sweep_create(path, o.handle, sweep, held, error), error)
        self._kept = (options, o, base)  # the sweep points to them
        self._handle = ffi.gc(held[0], lib.udump_sweep_free)
        self.batch_count: int = lib.udump_sweep_batch_count(self._handle)

    def cells(self, folder: Path) -> Iterator[SweepCell]:
        """All cells, in the order in which they are made; `folder`: where they will be."""
        cell, index = ffi.new("udump_sweep_cell *"), 0
        while lib.udump_sweep_get_cell(self._handle, index, cell, ffi.NULL) == lib.UDUMP_OK:
            yield cell_of(cell, folder)
            index += 1

    def run(self, folder: Path, first: int, count: int, listener: SweepListener | None = None) -> None:
        """Makes what is not there of some batches, and sweep.json; `listener` is told of their cells. Ctrl-C ends it within a step."""
        observer, error = _Observer(listener), new_error()
        status = lib.udump_sweep_run(self._handle, c_path(folder), first, count, observer.struct, error)
        observer.raise_failure()
        check(status, error)


class _Observer(Listening):
    def __init__(self, listener: SweepListener | None) -> None:
        super().__init__()
        self.listener = listener
        members = {"struct_bytes": ffi.sizeof("udump_sweep_observer"), "user": self.handle, "progress": lib.sweep_progress}
        self.struct = ffi.new("udump_sweep_observer *", members)


@callback  # type: ignore[untyped-decorator]
def sweep_progress(user: Any, progress: Any) -> int:
    """One more step, or batch: here a Ctrl-C that came meanwhile is raised, too."""
    observer: _Observer = ffi.from_handle(user)
    if observer.listener:
        observer.listener(SweepProgress(progress.cells, progress.cells_done, progress.run.step, progress.run.steps))
    return int(lib.UDUMP_CONTINUE)
