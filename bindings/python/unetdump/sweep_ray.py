"""Sweeps on a Ray cluster: workers that hold a model each make batches, and their cells' files come back to the folder of whoever asked.

Nothing on the workers outlives a batch, and a batch is the same bytes whoever makes it: so a lost one is simply made again. Ray's own
restarts and retries are not used, since they tie a batch to its worker, which may wait for a machine that never comes back. Here a worker
that is lost is replaced by another one, wherever there is room, and its batch goes to whoever is free first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import logging
import os
import socket
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ._c import lib
from .errors import CancelledError, DeviceError, Error, FileError, OutOfMemoryError, StateError, bad_argument
from .loading import Source
from .options import Cancel
from .sweep_plan import Job, Plan, SweepListener, SweepProgress
from .sweep_results import SweepCell

RETRIES = 3  # of a batch, after its worker was lost: as many as Ray gives tasks
STOP_SECONDS = 10.0  # a batch that is told to stop ends within a step; what has not by then is killed
_BEGIN = -1  # what a worker does before its first batch
_SUFFIXES = (".png", ".npy", ".json")  # of a cell's files; the record last, which makes it whole
_OF_THE_MACHINE = (FileError, DeviceError, OutOfMemoryError)

Files = tuple[bytes, bytes, bytes]


# ---- on the workers


@dataclasses.dataclass(frozen=True)
class Failure:
    """What a worker ran into: an answer, since not every exception may be wrapped as Ray wraps them."""

    host: str
    error: Exception


def _answering(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def answer(self: Worker, *arguments: Any) -> Any:
        try:
            return method(self, *arguments)
        except Exception as error:
            return Failure(socket.gethostname(), error)

    return answer


class Worker:
    """The actor: loads the model once, and makes batches in a folder of its own, which goes with the batch."""

    def __init__(self, job: Job) -> None:
        """Loads nothing yet: what goes wrong shall be told by `begin`."""
        self._job, self._cancel = job, Cancel()

    @_answering
    def begin(self) -> str:
        """Loads the model; the hash of the plan, which must be that of all workers."""
        self._plan = Plan(self._job, cancel=self._cancel)
        self._cells = list(self._plan.cells(Path()))
        return hashlib.sha256(self.plan_file()).hexdigest()

    def plan_file(self) -> bytes:
        """sweep.json."""
        with _own_folder() as folder:
            self._plan.run(folder, 0, 0)
            return (folder / "sweep.json").read_bytes()

    @_answering
    def plan(self) -> tuple[bytes, list[SweepCell]]:
        """sweep.json and the cells."""
        return self.plan_file(), self._cells

    @_answering
    def make(self, batch: int) -> dict[str, Files]:
        """The files of a batch's cells, by their keys."""
        with _own_folder() as folder:
            self._plan.run(folder, batch, 1)
            own = [dataclasses.replace(cell, folder=folder) for cell in self._cells if cell.batch == batch]
            return {cell.key: tuple(cell.file(suffix).read_bytes() for suffix in _SUFFIXES) for cell in own}  # type: ignore[misc]

    def stop(self) -> None:
        """From another thread: the batch that is running ends within a step, and takes its files with it."""
        self._cancel.set()


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="unetdump-sweep-") as name:
        yield Path(name)


# ---- where the sweep was asked for


def make_by_ray(
    job: Job, folder: Path, tell: SweepListener, cancel: Cancel | None, *, workers: int = 0, ray_address: str | None = None
) -> Iterator[SweepCell]:
    """Makes what is not in the folder, and sweep.json; gives all cells as they are there. See `unetdump.sweep`."""
    try:
        import ray
    except ImportError:
        raise ImportError("engine ray needs Ray: pip install 'unetdump[ray]'") from None
    ours = not ray.is_initialized()
    if ours:
        _look_for(ray_address or "")
        ray.init(address=ray_address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        count, resources = share_out([node["Resources"] for node in ray.nodes() if node["Alive"]], job.source, workers)
        threads = job.source.options.get("threads") or (0 if "num_gpus" in resources else resources["num_cpus"])
        source = job.source.absolute()
        there = dataclasses.replace(job, source=Source(source.path, {**source.options, "threads": threads}))
        with contextlib.closing(_Crew(ray, there, count, resources, cancel)) as crew:
            yield from _make(crew, folder, tell)
    finally:
        if ours:
            ray.shutdown()


def _look_for(address: str) -> None:
    """Raises ConnectionError where nobody listens at HOST:PORT: Ray goes on trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise ConnectionError(f"no Ray cluster at {address}: {error.strerror or error}") from None


def share_out(nodes: Sequence[dict[str, float]], source: Source, workers: int) -> tuple[int, dict[str, int]]:
    """How many workers, and what each takes of its node: a GPU where there are any and it is not told otherwise; else as many CPUs as it
    has threads, or as the smallest node has, so that there is a worker on each, with all of its cores where they are alike.

    Raises ArgumentError where none fits, unless their number is given: then more nodes may come.
    """
    device, threads = source.options.get("device", "auto"), source.options.get("threads", 0)
    if ":" in device:
        raise bad_argument("device", "cuda: Ray chooses among a node's", repr(device))
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if device == "cuda" or (device == "auto" and gpus):
        fit, resources = gpus, {"num_gpus": 1, "num_cpus": threads or 1}
    else:
        cpus = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
        own = threads or min(cpus, default=1)
        fit, resources = sum(cpu // own for cpu in cpus), {"num_cpus": own}
    if not (workers or fit):
        needed = " and ".join(f"{count} {name.removeprefix('num_')}" for name, count in resources.items())
        raise bad_argument("ray", f"a node with {needed}", f"{len(nodes)} nodes without")
    return workers or fit, resources


class _Crew:
    """The workers, and who does what."""

    def __init__(self, ray: Any, job: Job, size: int, resources: dict[str, int], cancel: Cancel | None) -> None:
        """Begins with one worker: the plan says how many there is work for."""
        self._ray, self._job, self._size, self._cancel = ray, job, size, cancel
        self._actor = ray.remote(max_concurrency=2, **resources)(Worker)  # 2: `stop` is heard while a batch is running
        self._hired: set[Any] = set()
        self._doing: dict[Any, tuple[Any, int]] = {}  # by the reference of its answer: a worker, and the batch
        self._free: list[Any] = []
        self._waiting: deque[int] = deque()
        self._lost: Counter[int] = Counter()  # by batch: workers
        self._digest = ""
        self._hire()

    def _hire(self) -> None:
        worker = self._actor.remote(self._job)
        self._hired.add(worker)
        self._doing[worker.begin.remote()] = worker, _BEGIN

    def plan(self) -> tuple[bytes, list[SweepCell]]:
        """sweep.json and the cells, by the first worker that has loaded its model."""
        while True:
            with contextlib.suppress(_LostError):
                worker, _, self._digest = self._next()
                self._doing[worker.plan.remote()] = worker, _BEGIN
                worker, _, plan = self._next()
                self._free.append(worker)
                return plan  # type: ignore[no-any-return]

    def make(self, batches: Sequence[int]) -> Iterator[dict[str, Files]]:
        """The files of these batches' cells, batch by batch as they are there."""
        left = set(batches)
        self._waiting.extend(batches)
        for _ in range(min(self._size, len(left)) - 1):
            self._hire()
        while left:
            self._hand_out()
            with contextlib.suppress(_LostError):
                worker, batch, answer = self._next()
                if batch == _BEGIN and answer != self._digest:
                    raise _state("the workers would make different cells: their devices, versions or files differ")
                self._free.append(worker)
                if batch == _BEGIN:
                    self._lost[_BEGIN] = 0
                    continue
                left.remove(batch)
                self._hand_out()  # while this one's files are written
                yield answer

    def _hand_out(self) -> None:
        while self._free and self._waiting:
            worker, batch = self._free.pop(), self._waiting.popleft()
            self._doing[worker.make.remote(batch)] = worker, batch

    def _next(self) -> tuple[Any, int, Any]:
        """The next answer. Raises _LostError where it is that a worker is lost, which has been seen to."""
        done: list[Any] = []
        while not done:  # in short turns, to hear of a cancel
            if self._cancel and self._cancel.is_set:
                raise CancelledError("cancelled", lib.UDUMP_ERROR_CANCELLED)
            done, _ = self._ray.wait(list(self._doing), num_returns=1, timeout=0.5)
        worker, batch = self._doing.pop(done[0])
        try:
            answer = self._ray.get(done[0])
        except self._ray.exceptions.RayTaskError:
            raise  # a defect: what may go wrong is answered
        except self._ray.exceptions.RayError as error:
            self._replace(worker, batch, error)
            raise _LostError from error
        if isinstance(answer, Failure):
            raise _told(answer)
        return worker, batch, answer

    def _replace(self, worker: Any, batch: int, error: Exception) -> None:
        self._hired.remove(worker)
        self._ray.kill(worker)  # it may only be out of reach: it shall not go on
        self._lost[batch] += 1
        if self._lost[batch] > RETRIES * (self._size if batch == _BEGIN else 1):
            doing = "loaded the model" if batch == _BEGIN else f"made batch {batch}"
            reason = " ".join(str(error).split())[:400]
            raise _state(f"{self._lost[batch]} workers were lost while they {doing}; the last: {reason}")
        if batch != _BEGIN:
            self._waiting.appendleft(batch)
        self._hire()

    def close(self) -> None:
        """Has batches that are running stop, which clears up after them, and ends all workers."""
        running = {reference: worker for reference, (worker, batch) in self._doing.items() if batch != _BEGIN}
        for worker in running.values():
            worker.stop.remote()
        if running:
            self._ray.wait(list(running), num_returns=len(running), timeout=STOP_SECONDS)
        for worker in self._hired:
            self._ray.kill(worker)


class _LostError(Exception):
    """A worker's process or machine is gone."""


def _state(message: str) -> StateError:
    return StateError(message, lib.UDUMP_ERROR_STATE)


def _told(failure: Failure) -> Exception:
    """A worker's exception, with the machine where that may be the reason."""
    error = failure.error
    if isinstance(error, Error) and isinstance(error, _OF_THE_MACHINE):
        error.args = (f"{error} (on {failure.host})",)
    return error


def _make(crew: _Crew, folder: Path, tell: SweepListener) -> Iterator[SweepCell]:
    plan, planned = crew.plan()
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    _save(folder / "sweep.json", plan)
    cells = {cell.key: dataclasses.replace(cell, folder=folder) for cell in planned}
    missing = {key: cell for key, cell in cells.items() if not cell.there}
    tell(SweepProgress(len(cells), len(cells) - len(missing)))
    yield from (cell for key, cell in cells.items() if key not in missing)
    for made in crew.make(sorted({cell.batch for cell in missing.values()})):
        new = [missing.pop(key) for key in made if key in missing]
        for cell in new:
            _keep(cell, made[cell.key])
        tell(SweepProgress(len(cells), len(cells) - len(missing)))
        yield from new


def _keep(cell: SweepCell, files: Files) -> None:
    for suffix, data in zip(_SUFFIXES, files, strict=True):
        _save(cell.file(suffix), data)
    if not cell.there:
        raise _state(f"{cell.file('.json')}: it is not what the worker made")


def _save(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all, under a name that `udump_sweep_collect` clears where it stays behind."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}-0")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
