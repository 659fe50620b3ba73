"""What MkDocs adds to docs/: the C API from the header, and the files that stand at the repository's root."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))

import header  # noqa: E402

_OURS = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md", "README.ja.md": "ja.md"}


def _moved(text: str) -> str:
    """A root file's links as they are from docs/; of what is not in the site only the words stay."""

    def link(match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        if target.startswith("docs/"):
            return f"[{words}]({target[5:]})"
        if target in _OURS or target == "README.md":
            return f"[{words}]({_OURS.get(target, 'index.md')})"
        if target == "include/unetdump.h":
            return f"[{words}](c-api/index.md)"
        return match[0] if target.startswith("#") else words

    return re.sub(r"\[([^\]]*)\]\(([^)]*)\)", link, text)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The header's sections go into the navigation."""
    for entry in config.nav or []:
        if "C API" in entry:
            entry["C API"] = list(header.pages(ROOT / "include/unetdump.h"))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made."""
    for path, text in header.pages(ROOT / "include/unetdump.h").items():
        files.append(File.generated(config, path, content=text))
    for name, path in _OURS.items():
        files.append(File.generated(config, path, content=_moved((ROOT / name).read_text())))
    return files
