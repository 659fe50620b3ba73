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

    def __init__(self) -> None:
        """Nothing shows before the first step."""
        self._bar: Any = None

    def __call__(self, progress: Progress) -> None:
        """Shows one more step."""
        if self._bar is None:
            self._bar = _open(progress.steps)
        self._bar.update(progress.step - self._bar.n)
        if progress.step == progress.steps:
            self.close()

    def close(self) -> None:
        """Leaves the bar as it is, and begins another one with the next batch."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Line:
    def __init__(self, total: int) -> None:
        self.n, self.total = 0, total

    def update(self, count: int) -> None:
        self.n += count
        sys.stderr.write(f"\rstep {self.n} of {self.total}")
        sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\n")


def _open(steps: int) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _Line(steps)
    return tqdm(total=steps, unit="step")
