"""Runs, one at a time on one model: the queue, a run's state while it goes on, and its folder."""

from __future__ import annotations

import contextlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from unetdump.errors import CancelledError
from unetdump.folder import write_report
from unetdump.model import Model
from unetdump.options import Cancel, Options
from unetdump.progress import Progress
from unetdump.results import Result

from .captured import Keeper

WAITING, RUNNING, DECODING, DONE, STOPPED, FAILED = "waiting", "running", "decoding", "done", "stopped", "failed"
_MAP = re.compile(r"\d{3,}-(?:unet|attn|diff|heat)\b.*")  # the stem of a map's file


@dataclass
class Run:
    """One run: what it was asked for, how far it is, what it gave. The queue's thread writes it, pages read it."""

    prompt: str
    options: Options
    folder: Path
    dump: str | None = None
    report: bool = False
    state: str = WAITING
    progress: Progress | None = None
    failure: Exception | None = None
    result: Result | None = None
    keeper: Keeper = field(default_factory=Keeper)
    cancel: Cancel = field(default_factory=Cancel)
    ended: threading.Event = field(default_factory=threading.Event)
    _seen: dict[str, None] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> bool:
        """Whether its turn is still wanted; nobody else may then end it."""
        with self._turn:
            wanted = self.state == WAITING
            self.state = RUNNING if wanted else self.state
        return wanted

    def stop(self) -> None:
        """Ends it within a step; one that waits for its turn, at once."""
        self.cancel.set()
        with self._turn:
            if self.state == WAITING:
                self.end(STOPPED)

    def end(self, state: str) -> None:
        """With its last state. A folder in which nothing was written goes."""
        self.state = state
        if state != DONE:
            with contextlib.suppress(OSError):
                self.folder.rmdir()
        self.ended.set()

    def pictures(self) -> list[Path]:
        """The PNGs that are there: finished pictures, then maps in the order in which they came, attention after what else came then."""
        if self.folder.is_dir():
            there = sorted((path.stem for path in self.folder.glob("*.png")), key=lambda stem: ("-attn-" in stem, stem))
            self._seen.update(dict.fromkeys(there))
        shown = sorted(self._seen, key=lambda stem: bool(_MAP.fullmatch(stem)))
        return [self.folder / f"{stem}.png" for stem in shown]


class Queue:
    """Does runs one after the other, in the order in which they are asked for, in one thread: its session and its plans are used again."""

    def __init__(self, model: Model) -> None:
        """On a model, which others may use meanwhile."""
        self.model = model
        self._thread = ThreadPoolExecutor(1, "unetdump")
        self._lock = threading.Lock()
        self._asked: list[Run] = []

    def add(self, run: Run) -> None:
        """Begins the run when those before it have ended."""
        with self._lock:
            self._asked = [*(r for r in self._asked if not r.ended.is_set()), run]
        self._thread.submit(self._do, run)

    def ahead(self, run: Run) -> int:
        """How many runs have to end before this one begins."""
        with self._lock:
            asked = [r for r in self._asked if not r.ended.is_set()]
        return asked.index(run) if run in asked else 0

    def close(self) -> None:
        """Stops all runs and waits for the one that is going on."""
        with self._lock:
            for run in self._asked:
                run.stop()
        self._thread.shutdown()

    def _do(self, run: Run) -> None:
        if not run.begin():
            return
        try:
            self._sample(run)
            if run.report:
                write_report(run.folder)
            run.end(DONE)
        except CancelledError:
            run.end(STOPPED)
        except Exception as failure:  # whatever it is: the page says it
            run.failure = failure
            run.end(FAILED)

    def _sample(self, run: Run) -> None:
        def listen(progress: Progress) -> None:
            run.progress = progress

        given = {"dump": run.dump} if run.dump else {}
        options = {**run.options, **given, "keep": run.keeper, "progress": listen, "cancel": run.cancel, "output": run.folder}
        with self.model.stream(run.prompt, **options) as stream:  # type: ignore[arg-type]
            run.result = stream.result
            for step in stream:
                run.result.canvases.clear()  # they are in the folder
                if step.remaining == 0:
                    run.state = DECODING
            run.result = stream.result


def new_folder(root: Path) -> Path:
    """Makes the next of root/0001, root/0002, ...; two processes never get the same one. Raises OSError."""
    root.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(path.name) for path in root.iterdir() if path.name.isdigit()), default=0)
    while True:
        folder = root / f"{number:04}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


# As src/output/name.c makes them: what it is of, whose rows, which kind; a word's other letters than A to Z are codes.
_OF = r"(?P<image>\d{3,})(?:-(?P<source>unet|attn|diff)-(?P<block>[A-Z]+\d\d)-(?P<step>\d{3,})|(?P<heat>-heat))?"
_ROWS = r"(?P<negative>-uncond)?(?:-and(?P<part>\d+))?(?P<erased>-erased)?"
_KIND = r"(?:-(?P<kind>(?!average|d\d)[^-]+(?:-(?!average|d\d)[a-z]+)?))?(?:-d(?P<depth>\d+))?(?P<average>-average)?"
_NAME = re.compile(_OF + _ROWS + _KIND + r"\.png")


def _word(name: str) -> str:
    """A word as files' names have it: _xx is a byte, and a sum of 16 digits stands for what is too long."""
    cut = re.sub(r"_x[0-9a-f]{16}$", "", name)
    plain = re.sub(rb"_([0-9a-f]{2})", lambda code: bytes([int(code[1], 16)]), cut.encode())
    return plain.decode(errors="ignore") + ("..." if cut != name else "")


def caption(name: str, batch: int = 1) -> str:
    """A picture's file name in words: "OUT05 20 average", "heat of circle, without layer prompts"."""
    found = _NAME.fullmatch(name)
    if not found:
        return name
    kind = found["kind"] or ""
    if found["heat"]:
        said = f"heat of {_word(kind)}" if kind else "heat"
    elif found["block"]:
        parts = [found["block"], f"{int(found['step'])}", "diff" if found["source"] == "diff" else "", kind]
        parts += [f"layer {int(found['depth']) + 1}" if found["depth"] else "", "average" if found["average"] else ""]
        said = " ".join(part for part in parts if part)
    else:
        said = kind or ("" if found["erased"] else "picture")
    rows = "negative prompt" if found["negative"] else f"part {int(found['part']) + 1}" if found["part"] else ""
    parts = [said, rows, "without layer prompts" if found["erased"] else ""]
    return (f"{int(found['image'])}: " if batch > 1 else "") + ", ".join(part for part in parts if part)
