"""The command `unetdump` of the Python package: the C command, and what the package adds to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


def become_c_command(arguments: list[str]) -> NoReturn:
    """Signals and exit status are the C command's own."""
    program = Path(__file__).parent / "_native" / "bin" / "unetdump"
    os.execv(program, ["unetdump", *arguments])


def _sweep(arguments: list[str]) -> int:
    """The C command's, but for --engine ray."""
    from .sweep_command import asks_for_ray, sweep_by_ray

    if not asks_for_ray(arguments):
        become_c_command(["sweep", *arguments])
    shown = sweep_by_ray(arguments)
    return shown if isinstance(shown, int) else become_c_command(shown)



def _ui(arguments: list[str]) -> int:
    from .ui import main

    return main(arguments)


# What the package adds: a subcommand's name, and a function of the arguments after it that returns the exit status.
SUBCOMMANDS: dict[str, Callable[[list[str]], int]] = {"sweep": _sweep, "ui": _ui}


def main() -> int:
    """Runs a subcommand of the package's own, or becomes the C command with the same arguments."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in SUBCOMMANDS:
        become_c_command(arguments)
    return SUBCOMMANDS[arguments[0]](arguments[1:])
