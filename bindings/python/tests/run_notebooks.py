"""Runs the notebooks of examples/ from top to bottom: run_notebooks.py [NAME...]. Nothing is written back."""

import importlib.util
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
NEEDS = {"hook_your_own_pipeline": "diffusers"}


def main() -> None:
    """All of them, or those named; one whose needs are not installed is skipped, or, where UDUMP_NO_SKIP is set, fails."""
    passed = skipped = 0
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        if sys.argv[1:] and path.stem not in sys.argv[1:]:
            continue
        needed = NEEDS.get(path.stem)
        if needed and not importlib.util.find_spec(needed):
            if os.environ.get("UDUMP_NO_SKIP"):
                sys.exit(f"{path.name}: {needed} is not installed")
            print(f"{path.name}: skipped, {needed} is not installed")
            skipped += 1
            continue
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        assert all(not cell.get("outputs") for cell in notebook.cells), f"{path.name} is committed with outputs"
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": EXAMPLES}}).execute()
        print(f"{path.name}: passed")
        passed += 1
    print(f"{passed} passed, 0 failed, {skipped} skipped")


if __name__ == "__main__":
    main()
