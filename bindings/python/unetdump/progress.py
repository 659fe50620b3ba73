"""How far a run is: tqdm's bar in terminals and notebooks, or any function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Progress:
    """Told after every sampler step."""

    step: int  #: steps finished
    steps: int  #: all
    seconds: float  #: since sampling began
    seconds_per_step: float  #: of the steps so far, median


Listener = Callable[[Progress], object]


class Bar:
    """A bar by tqdm where it is installed, else a line on standard error."""

    def __init__(self, unit: str = "step") -> None:
        """Nothing shows before the first step. unit: what it counts."""
        self._bar: Any = None
        self._unit = unit

    def __call__(self, progress: Progress) -> None:
        """Shows one more step."""
        self.show(progress.step, progress.steps)

    def show(self, done: int, total: int, note: str = "") -> None:
        """Shows how many are done, and closes when all are."""
        if self._bar is None:
            self._bar = _open(total, self._unit)
        self._bar.update(done - self._bar.n)
        if note:
            self._bar.set_postfix_str(note)
        if done == total:
            self.close()

    def close(self) -> None:
        """Leaves the bar as it is, and begins another one with the next batch."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Line:
    def __init__(self, total: int, unit: str) -> None:
        self.n, self.total, self.unit = 0, total, unit

    def update(self, count: int) -> None:
        self.n += count
        self.set_postfix_str("")

    def set_postfix_str(self, note: str) -> None:
        sys.stderr.write(f"\r\033[K{self.unit} {self.n} of {self.total} {note}")
        sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\n")


def _open(total: int, unit: str) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _Line(total, unit)
    return tqdm(total=total, unit=unit)
