"""One browser tab each: its run, what is clicked on, the last seed. Tabs share the model and the queue, and nothing else."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from PIL import Image

from unetdump.model import Model

from .captured import Captured, Point, Token
from .form import DUMPS, Form
from .given import keep
from .runs import Queue, Run, new_folder
from .viewer import view

ALL = "all"  # of blocks or steps
VARIANTS = {"enabled": "", "erased": " without layer prompts"}


def _drawn(seed: int) -> int:
    return random.getrandbits(32) if seed < 0 else seed


@dataclass
class Visit:
    """A tab."""

    run: Run | None = None
    form: Form | None = None
    target: Token | Point | None = None

    def begin(self, form: Form, model: Model, queue: Queue, root: Path) -> Run:
        """Asks for a run; seeds below 0 are drawn. Raises ArgumentError, NotationError (before a run's folder is made), OSError."""
        init = keep(form.init, form.width, form.height, root) if form.init else None
        self.form = replace(form, init=init, seed=_drawn(form.seed), variation_seed=_drawn(form.variation_seed))
        options = self.form.options(model)
        dump = form.dump if form.dump != DUMPS[0] else None
        prompt = self.form.prompts(model)[0]
        self.run, self.target = Run(prompt, options, new_folder(root), dump, form.report), None
        queue.add(self.run)
        return self.run

    def stop(self) -> None:
        """Ends its run, if one is going on."""
        if self.run:
            self.run.stop()

    def pictures(self) -> dict[str, tuple[int, str]]:
        """The finished run's pictures: a name for each, and which it is."""
        store = self.run.result._store if self.run and self.run.result and self.run.ended.is_set() else None
        return {f"{image:03}{VARIANTS.get(variant, ' ' + variant)}": (image, variant) for image, variant in store.images} if store else {}

    def captured(self, name: str) -> tuple[Image.Image, Captured]:
        """A picture by its name, and what was kept of it. Raises LookupError."""
        image, variant = self.pictures()[name]
        assert self.run and self.run.result
        return self.run.result.at(image, variant).image, Captured(self.run.result, image, variant)

    def look(self, name: str, block: str, step: str, names: list[str]) -> str:
        """The picture with the maps of what is clicked on, as HTML; names: the blocks that have attention. Raises LookupError."""
        picture, captured = self.captured(name)
        which = None if block == ALL else block, None if step == ALL else int(step)
        return view(picture, captured, names, self.target, captured.maps(self.target, *which) if self.target else None)


class Visits:
    """All tabs, by Gradio's session."""

    def __init__(self) -> None:
        """None."""
        self._lock, self._open = Lock(), dict[str, Visit]()

    def of(self, session: str | None) -> Visit:
        """A session's tab."""
        with self._lock:
            return self._open.setdefault(session or "", Visit())

    def leave(self, session: str | None) -> None:
        """Ends a tab, and its run with it."""
        with self._lock:
            visit = self._open.pop(session or "", None)
        if visit:
            visit.stop()
