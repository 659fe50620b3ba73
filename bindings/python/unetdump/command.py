"""The command `unetdump` of the Python package: the C command, and what the package adds to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path


def _ui(arguments: list[str]) -> int:
    from .ui import main

    return main(arguments)


# What the package adds: a subcommand's name, and a function of the arguments after it that returns the exit status.
SUBCOMMANDS: dict[str, Callable[[list[str]], int]] = {"ui": _ui}


def main() -> int:
    """Runs a subcommand of the package's own, or becomes the C command with the same arguments."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in SUBCOMMANDS:
        program = Path(__file__).parent / "_native" / "bin" / "unetdump"
        os.execv(program, ["unetdump", *arguments])  # signals and exit status are the C command's own
    return SUBCOMMANDS[arguments[0]](arguments[1:])
