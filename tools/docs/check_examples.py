"""Does what the documentation shows: check_examples.py UNETDUMP [PAGE...], by a Python that has the package.

Each page in a folder of its own, its blocks in order:
    ```console   "$ " lines are run, and must print what follows them
    ```sh        is run, and must not fail
    ```python    is run, all of a page in one namespace; in a README, which shows pieces, it must compile
    ```bash, ```py, and without a language: not run; commands of ours in them must name options that there are, Python must compile
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("README*.md"))]
_BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class Failure(Exception):
    """What a page shows is not so."""


def options_of(command: str) -> set[str]:
    """The options that a command has; those of the package's own commands, too."""
    said = subprocess.run([Path(sys.executable).parent / "unetdump", command, "--help"], capture_output=True, text=True, check=False)
    if said.returncode:
        raise Failure(f"there is no command {command}")
    return set(re.findall(r"^  (-\w)[ ,]", said.stdout, re.MULTILINE)) | set(re.findall(r"(--[a-z-]+)", said.stdout))


def shown(block: str) -> None:
    """The options of the commands in a block that is not run."""
    for line in block.replace("\\\n", " ").splitlines():
        if match := re.match(r"\s*unetdump ([a-z]+) (.*)", line):
            text = re.split(r"\s{4,}", match[2])[0]  # what follows many spaces says what it does
            if unknown := {word for word in shlex.split(text) if re.match(r"-{1,2}[a-z]", word)} - options_of(match[1]):
                raise Failure(f"{line.strip()}: there is no {', '.join(unknown)}")


def shell(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Runs a script; what it printed."""
    together = f"exec 2>&1\n{command}"
    done = subprocess.run(["sh", "-euc", together], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode and "unetdump: " not in done.stdout:
        raise Failure(f"{command}\nended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def console(block: str, folder: Path, environment: dict[str, str]) -> int:
    """Runs each command and compares what it prints; how many."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)[1:]
    for command, expected in zip(parts[::2], parts[1::2], strict=True):
        found = shell(command, folder, environment)
        if found.rstrip() != expected.rstrip():
            raise Failure(f"$ {command}\nprints\n{found}\ninstead of\n{expected}")
    return len(parts) // 2


def blocks_of(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of each block, without what indents it."""
    for _, language, text in _BLOCK.findall(page.read_text()):
        yield language, textwrap.dedent(text)


def check(page: Path, unetdump: Path, folder: Path) -> int:
    """Does what a page shows; how much there was to do. Raises Failure."""
    (folder / "models").symlink_to(ROOT / "models")
    environment = os.environ | {"PATH": f"{unetdump.parent}:{os.environ['PATH']}", "OMP_WAIT_POLICY": "passive"}
    names: dict[str, object] = {}
    count = 0
    os.chdir(folder)
    for language, text in blocks_of(page):
        if language == "console":
            count += console(text, folder, environment)
        elif language == "sh":
            if "unetdump: " in (said := shell(text, folder, environment)):
                raise Failure(f"{text}\n{said}")
            count += 1
        elif language == "python" and page.parent == ROOT / "docs":
            exec(compile(text, page.name, "exec"), names)
            count += 1
        elif language in ("py", "python"):
            compile(text, page.name, "exec")
        elif language in ("bash", ""):
            shown(text)
    return count


def main() -> int:
    """All pages, or those named."""
    unetdump = Path(sys.argv[1]).resolve()
    failed = count = 0
    for page in [Path(name).resolve() for name in sys.argv[2:]] or PAGES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                count += check(page, unetdump, Path(folder))
            except Exception as failure:  # whatever an example raises is its page's failure
                failed += 1
                print(f"{page.name}: {type(failure).__name__}: {failure}")
            os.chdir(ROOT)
    print(f"{count} examples, {failed} pages failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
