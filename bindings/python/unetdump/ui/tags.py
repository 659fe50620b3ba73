"""The webui's tags in a prompt, `<lora:NAME:0.8>`: no words. A page has the LoRAs that it was opened with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from unetdump._c import lib
from unetdump.errors import NotationError
from unetdump.loading import Lora

_TAG = re.compile(r"<(?:lora|lyco|hypernet):[^>]+>")


def refuse(prompt: str) -> None:
    """As the command's sweep does it. Raises NotationError for the first tag."""
    if found := _TAG.search(prompt):
        what = f"{found[0]} in a prompt: the page takes LoRAs by --lora"
        raise NotationError(what, lib.UDUMP_ERROR_SYNTAX, what=what, offset=found.start())


def take(prompt: str) -> tuple[str, list[str]]:
    """The prompt without its tags, and these. What a picture's text has before the last of them is put there again: a blank."""
    tags = _TAG.findall(prompt)
    return (_TAG.sub("", prompt).rstrip(" ") if tags else prompt), tags


def _meaning(tag: str) -> tuple[str, object]:
    """What tags that do the same have in common: a name and one weight; of others all that is in them."""
    kind, _, inside = tag[1:-1].partition(":")
    name, _, weight = inside.partition(":")
    try:
        return (name, round(float(weight or 1), 6)) if kind != "hypernet" else (tag, 0)
    except ValueError:
        return tag, 0


def _name(lora: Lora) -> str:
    return str(lora.path).rpartition("/")[2].partition(".safetensors")[0]


def are_loaded(tags: Sequence[str], loras: Iterable[Lora]) -> bool:
    """Whether the tags name exactly these LoRAs with their weights."""
    meant = [(_name(lora), round(lora.weight, 6)) for lora in loras]
    return sorted(map(str, meant)) == sorted(str(_meaning(tag)) for tag in tags)


def block_weights(loras: Iterable[Lora]) -> str:
    """The LoRAs' weights for blocks as pictures name them."""
    return "; ".join(f"{_name(lora)}: {lora.blocks}" for lora in loras if lora.blocks)
