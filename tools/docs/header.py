"""The public header as pages: a section a page, what is declared together under one heading, each comment above it as text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_SECTION = re.compile(r"^/\* -+ (?:(\d+)\. )?(.*?) \*/$")
_DEFINED = re.compile(
    r"^#define (UDUMP_\w+)|^typedef (?:struct|enum) (udump_\w+)|^typedef \w+ \(\*(udump_\w+)\)|^UDUMP_API [^(]*?\b(udump_\w+)\(",
    re.MULTILINE,
)


@dataclass
class Item:
    """What one comment is about: its text, and the declarations under it as they stand."""

    comment: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """What is declared, in order, each once."""
        return list(dict.fromkeys("".join(found) for found in _DEFINED.findall("\n".join(self.code))))


@dataclass
class Section:
    """A part of the header."""

    title: str
    items: list[Item] = field(default_factory=list)

    @property
    def file(self) -> str:
        """Its page."""
        return f"c-api/{self.title.replace(' ', '-')}.md"


def read(header: Path) -> tuple[list[str], list[Section]]:
    """The comment at the header's top, and its sections; the version is the first."""
    text = header.read_text()
    top, rest = text.split("*/", 1)
    body = rest[rest.index("#define UDUMP_VERSION_MAJOR") : rest.rindex("#ifdef __cplusplus")]
    sections = [Section("version")]
    item = Item()
    in_comment = in_code = False
    for line in body.splitlines():
        if match := _SECTION.match(line):
            sections.append(Section(match[2]))
        starts = not in_code and line.startswith("/*") and not _SECTION.match(line)
        if starts or (not line and not in_code and not in_comment) or _SECTION.match(line):
            item = Item()  # a comment or an empty line ends what was declared together
        if _SECTION.match(line) or (not line and not in_code and not in_comment):
            continue
        if starts or in_comment:
            item.comment.append(line)
            in_comment = "*/" not in line
            continue
        if not item.code:
            sections[-1].items.append(item)
        item.code.append(line)
        in_code = line.endswith("{") or (in_code and not line.startswith("}"))
    return _plain(top.splitlines()), [section for section in sections if section.items]


def _plain(comment: list[str]) -> list[str]:
    """A comment's lines without its stars."""
    return [re.sub(r"^\s*(/\*|\*)? ?", "", re.sub(r"\s*\*/$", "", line)) for line in comment]


def _text(lines: list[str], link: dict[str, str]) -> str:
    """Paragraphs as Markdown, with links to what they name; what is indented stays as it stands."""
    out: list[str] = []
    for line in lines:
        indented = line.startswith("  ")
        if indented and not (out and out[-1].startswith("    ")):
            out.append("")
        if not indented and out and out[-1].startswith("    "):
            out.append("")
        if indented:
            out.append("    " + line)
            continue
        out.append("`".join(part if i % 2 else _linked(part, link) for i, part in enumerate(line.split("`"))))
    return "\n".join(out)


def _linked(words: str, link: dict[str, str]) -> str:
    """Words outside of backticks: what is Markdown's in them is not meant so."""
    escaped = re.sub(r"([*~])", r"\\\1", words.replace("<", "&lt;"))
    return re.sub(r"\b(?:udump|UDUMP)_\w+", lambda name: link.get(name[0], f"`{name[0]}`"), escaped)


def pages(header: Path) -> dict[str, str]:
    """The pages, by path: an index, and one for each section."""
    top, sections = read(header)
    where = {name: f"{section.file[6:]}#{item.names[0]}" for section in sections for item in section.items for name in item.names}
    link = {name: f"[`{name}`]({target})" for name, target in where.items()}
    made = {"c-api/index.md": _index(top, sections)}
    for section in sections:
        out = [f"# {section.title[0].upper()}{section.title[1:]}", ""]
        for item in section.items:
            if item.names:
                title = ", ".join(f"`{name}`" for name in item.names[:3]) + (", ..." if len(item.names) > 3 else "")
                out += [f"## {title} {{ #{item.names[0]} }}", ""]
            out += [_text(_plain(item.comment), link), "", "```c", *item.code, "```", ""]
        made[section.file] = "\n".join(out)
    return made


def _index(top: list[str], sections: list[Section]) -> str:
    contents, conventions = top.index("Contents, simple to advanced:"), top.index("Conventions")
    first = re.sub(r"^libunetdump: s", "S", top[0])
    out = ["# C API", "", first, "", "These pages are the header `unetdump.h` itself, section by section.", ""]
    about = dict(re.findall(r"^\s*\d+\. (\S.*?)  +(\S.*)$", "\n".join(top[contents:conventions]), re.MULTILINE))
    out += ["| | |", "| --- | --- |"]
    for section in sections:
        name = f"{section.title[0].upper()}{section.title[1:]}"
        out.append(f"| [{name}]({section.file[6:]}) | {about.get(section.title, '')} |")
    sentences = re.sub(r"\.\n *(?=[A-Z])", ".\n- ", "\n".join(line.strip() for line in top[conventions + 1 :]).strip())
    out += ["", "## Conventions", "", "- " + _text(sentences.splitlines(), {}), "", "## A whole program", "", "```c"]
    return "\n".join([*out, '--8<-- "examples/capture_block.c"', "```", ""])
