"""What a prompt means while it is typed: every block's own prompt, or where it does not parse."""

from __future__ import annotations

from html import escape

from unetdump.errors import Error
from unetdump.model import Model
from unetdump.notation import parse_prompt

from . import tags
from .problems import show

EXAMPLE = "a (~: _: red; OUT06-OUT08: green :~) circle"


def runs(prompts: dict[str, str]) -> list[tuple[str, str, str]]:
    """Neighbouring blocks with the same prompt: first, last, prompt."""
    found: list[tuple[str, str, str]] = []
    for block, prompt in prompts.items():
        if found and found[-1][2] == prompt:
            found[-1] = found[-1][0], block, prompt
        else:
            found.append((block, block, prompt))
    return found


def problem(text: str, steps: int, model: Model, *, negative: bool) -> str:
    """HTML: what is wrong with a prompt, and where; "" if nothing is."""
    try:
        if not negative:
            tags.refuse(text)
        parse_prompt(text, steps, negative=negative, model=model)
    except Error as failure:
        return show(failure, text)
    return ""


def blocks(text: str, negative: str, steps: int, model: Model) -> str:
    """HTML: a row for each run of neighbouring blocks that have a prompt of their own; "" for a prompt that does not parse."""
    shown = []
    for name, given, no in (("Prompt", text, False), ("Negative prompt", negative, True)):
        try:
            parsed = parse_prompt(given, steps, negative=no, model=model)
        except Error:
            continue
        own = runs(parsed.blocks)
        if len(own) > 1:
            rows = "".join(
                f"<tr><td>{first if first == last else f'{first}-{last}'}</td><td>{escape(prompt) or '<i>empty</i>'}</td></tr>"
                for first, last, prompt in own
            )
            shown.append(f'<table class="own"><thead><tr><th>Blocks</th><th>{name}</th></tr></thead><tbody>{rows}</tbody></table>')
    return "".join(shown) or f'<p class="said">No layer prompts: every block sees the whole prompt. For example: <code>{EXAMPLE}</code></p>'
