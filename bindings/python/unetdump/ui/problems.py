"""Failures on the page: one line, and where a text does not parse, that text with a caret."""

from __future__ import annotations

from html import escape

from unetdump.errors import Error

LONGEST = 160  # of a line that lists what was expected


def line_of(failure: BaseException) -> str:
    """A failure as one line; a list of all that would have been right is cut."""
    if not isinstance(failure, Error):
        return f"{type(failure).__name__}: {failure}".splitlines()[0]
    place = f" at line {failure.line}, column {failure.column}" if failure.line > 1 else f" at column {failure.column}"
    said = failure.what + (place if failure.line else "")
    said = f"{failure.where}: {said}" if failure.where else said
    if failure.expected:
        said += f": expected {failure.expected}"
    if failure.found:
        said += f", found {failure.found}" if failure.expected else f": found {failure.found}"
    return said if len(said) <= LONGEST or not failure.expected else said.replace(failure.expected, shortened(failure.expected))


def shortened(text: str) -> str:
    """A text of some words."""
    return text if len(text) <= LONGEST // 2 else text[: LONGEST // 2].rsplit(" ", 1)[0].rstrip(",") + " ..."


def caret(text: str, offset: int) -> str:
    """The line of the text that has the offset (in code points), and a line with a caret under it."""
    offset = min(max(offset, 0), len(text))
    begin = text.rfind("\n", 0, offset) + 1
    line = text[begin:].split("\n", 1)[0]
    return line.replace("\t", " ") + "\n" + " " * (offset - begin) + "^"


def show(failure: BaseException, text: str | None = None) -> str:
    """HTML. text: what the failure's offset points into."""
    said = f'<p class="problem" role="alert">{escape(line_of(failure))}</p>'
    if text is not None and isinstance(failure, Error) and failure.offset >= 0:
        said += f'<pre class="caret">{escape(caret(text, failure.offset))}</pre>'
    return said
