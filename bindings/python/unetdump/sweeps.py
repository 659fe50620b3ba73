"""Sweeps: another prompt, or a LoRA, in one choice of blocks at a time, here or on many machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from .errors import bad_argument
from .loading import LoadOptions, Source
from .loading import Path as AnyPath
from .model import Model
from .options import Cancel, Sampling
from .progress import Bar
from .sweep_plan import Job, Plan, SweepListener, SweepProgress
from .sweep_results import SweepCell, SweepResult
from .typed import Unpack


class SweepOptions(Sampling, LoadOptions, total=False):
    """What a sweep may be given by keyword: how pictures are made, how the model is loaded where it is not there already, what varies."""

    variants: str | Sequence[str]  #: other prompts; without any, and without `replace`, the LoRAs vary
    replace: Mapping[str, str] | Sequence[tuple[str, str]]  #: old and new: variants, each the prompt with that text replaced
    blocks: str | Sequence[str]  #: layer specs of what is changed together; each block by itself
    seeds: Sequence[int]
    lora_weights: Sequence[float]  #: what the LoRAs' weights are multiplied by, one after the other
    batch_size: int  #: pictures at once, 1 to 256; 8
    force: bool  #: begin even where the disk may be too small
    progress: bool | SweepListener  #: True: tqdm's bar where it is installed; or a function of a SweepProgress
    engine: str  #: "local", or "ray": on all machines of a Ray cluster
    workers: int  #: of "ray": how many processes, each with a model and `threads` CPUs, or a GPU; as many as fit
    ray_address: str | None  #: of "ray": the cluster; else RAY_ADDRESS, or the one that runs here, or one of this machine


_OF_RAY = ("workers", "ray_address")
_OURS = ("variants", "replace", "blocks", "seeds", "lora_weights", "batch_size", "force", "progress", "engine", *_OF_RAY, "cancel")


class Sweep:
    """A sweep that can be run, or looked at meanwhile: `for cell in Sweep(...)` gives cells as they are there, those of earlier runs too.

    Leaving the loop early, Ctrl-C, and failures leave whole cells alone; another run of the same sweep goes on from there.
    """

    def __init__(self, model: Model | AnyPath, prompt: str, *, output: AnyPath, **options: Unpack[SweepOptions]) -> None:
        """Loads the model and checks everything, but for "ray", where a worker does it. Takes and raises what `sweep` does."""
        given: dict[str, Any] = dict(options)
        if unknown := set(given) - SweepOptions.__optional_keys__:
            raise TypeError(f"no such option: {', '.join(sorted(unknown))}")
        self.folder = Path(output)
        self._job = _job(model, prompt, given)
        self._cancel: Cancel | None = given.get("cancel")
        self._progress: bool | SweepListener = given.get("progress", False)
        self._ray = {name: given[name] for name in _OF_RAY if given.get(name)}
        engine = given.get("engine", "local")
        if engine not in ("local", "ray"):
            raise bad_argument("engine", "local or ray", repr(engine))
        if engine == "local" and self._ray:
            raise TypeError(f"{' and '.join(self._ray)}: needs engine='ray'")
        self._plan = Plan(self._job, model if isinstance(model, Model) else None, self._cancel) if engine == "local" else None

    def __iter__(self) -> Iterator[SweepCell]:
        """The cells as they are there: batch by batch, on many machines in any order. Raises as `sweep`."""
        return self._told(self._batches if self._plan else self._by_ray)

    def run(self) -> SweepResult:
        """Makes what is not there, then measures all. Raises as `sweep`."""
        for _ in self._told(self._whole if self._plan else self._by_ray):
            pass
        return SweepResult(self.folder)

    def _told(self, make: Callable[[SweepListener], Iterator[SweepCell]]) -> Iterator[SweepCell]:
        """What `make` gives, with whoever listens told."""
        bar = Bar("picture") if self._progress is True else None

        def show(p: SweepProgress) -> None:
            if bar:
                bar.show(p.cells_done, p.cells, f"step {p.step}/{p.steps}" if p.steps else "")
            elif callable(self._progress):
                self._progress(p)

        try:
            yield from make(show)
        finally:
            if bar:
                bar.close()

    def _whole(self, tell: SweepListener) -> Iterator[SweepCell]:
        """All batches in one call, which first compares what all of them need with what the disk has."""
        assert self._plan
        self._plan.run(self.folder, 0, self._plan.batch_count, tell)
        yield from self._plan.cells(self.folder)

    def _batches(self, tell: SweepListener) -> Iterator[SweepCell]:
        assert self._plan
        cells = list(self._plan.cells(self.folder))
        done = 0

        def tell_all(p: SweepProgress) -> None:
            tell(SweepProgress(len(cells), done + p.cells_done, p.step, p.steps))

        for batch, own in groupby(sorted(cells, key=lambda cell: cell.batch), key=lambda cell: cell.batch):
            self._plan.run(self.folder, batch, 1, tell_all)
            made = list(own)
            done += len(made)
            yield from made

    def _by_ray(self, tell: SweepListener) -> Iterator[SweepCell]:
        from .sweep_ray import make_by_ray

        return make_by_ray(self._job, self.folder, tell, self._cancel, **self._ray)


def _job(model: Model | AnyPath, prompt: str, given: dict[str, Any]) -> Job:
    loading = {name: given[name] for name in LoadOptions.__optional_keys__ if name in given}
    if isinstance(model, Model) and loading:
        raise TypeError(f"{', '.join(sorted(loading))}: the model is loaded already")
    if given.get("batch_size") == 0:
        raise bad_argument("batch_size", "a number other than 0", 0)
    if "seed" in given and "seeds" in given:
        raise TypeError("seed and seeds: one of the two")
    variants, blocks = given.get("variants", ()), given.get("blocks", ())
    return Job(
        source=model.source if isinstance(model, Model) else Source(model, loading),  # type: ignore[arg-type]
        prompt=prompt,
        sampling={name: value for name, value in given.items() if name not in (*_OURS, *loading)},
        variants=(*((variants,) if isinstance(variants, str) else variants), *_replaced(prompt, given.get("replace", ()))),
        blocks=(blocks,) if isinstance(blocks, str) else tuple(blocks),
        seeds=tuple(given.get("seeds", ())),
        lora_weights=tuple(given.get("lora_weights", ())),
        batch_size=given.get("batch_size", 0),
        force=given.get("force", False),
    )


def _replaced(prompt: str, replace: Mapping[str, str] | Sequence[tuple[str, str]]) -> Iterator[str]:
    if isinstance(replace, str):
        raise TypeError(f"replace: expected a mapping of old to new, or pairs, found str: {replace!r}")
    for old, new in replace.items() if isinstance(replace, Mapping) else replace:
        if not old or old not in prompt:
            raise bad_argument("replace", "a part of the prompt", repr(old))
        yield prompt.replace(old, new)


def sweep(model: Model | AnyPath, prompt: str, *, output: AnyPath, **options: Unpack[SweepOptions]) -> SweepResult:
    """Which blocks does a word, or a LoRA, act on?

    Makes the prompt's picture, and for every choice of blocks one in which these alone see another prompt, or in which the LoRAs work in
    these alone; all from the same noise. model: a loaded one, or a checkpoint's path. output: the folder, which then has the pictures in
    cells/, sheet.png, index.html, sweep.csv and results.json; what is there is not made again. options: see `SweepOptions`. Ctrl-C ends it
    between two steps; another call goes on.

        r = unetdump.sweep("models/demo", "a red circle", replace={"red": "green"}, output="sweep", width=128, height=128)
        r.ranking[0].blocks, r.ranking[0].mean.picture.relative_l2
        r.cell("OUT08").image

    engine="ray" makes batches on the machines of a Ray cluster, which need the package, and the checkpoint at the same path, but no common
    file system: cells come back to `output`. The device and precision are the workers'. What a lost worker did is done again by another.

    Raises ArgumentError, NotationError (specs, prompts), UnsupportedError, FileError (also: the disk has too little room), DeviceError,
    OutOfMemoryError, CancelledError (`cancel`), whatever `progress` raised; with "ray" ImportError (it is not installed), ConnectionError
    (there is no cluster), OSError (the folder cannot be written), StateError (workers that would make different cells; a batch whose
    workers are lost time and again).
    """
    return Sweep(model, prompt, output=output, **options).run()
