"""The webui's tags in a prompt, `<lora:NAME:0.8>`: no words. A page has the LoRAs that it was opened with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unetdump.lora import Lora, LoraTag, take_lora_tags


def refuse(prompt: str) -> None:
    """As the command's sweep does it. Raises NotationError for the first tag."""
    if tags := take_lora_tags(prompt)[1]:
        raise tags[0].misplaced(prompt, f"{tags[0].text} in a prompt: the page takes LoRAs by --lora")


def _meaning(tag: LoraTag) -> tuple[str, object]:
    """What tags that do the same have in common: a name and one weight; of others all that is in them."""
    return (tag.text, 0) if tag.problem or tag.blocks else (tag.name, round(tag.weight, 6))


def _name(lora: Lora) -> str:
    return str(lora.path).rpartition("/")[2].partition(".safetensors")[0]


def are_loaded(tags: Sequence[LoraTag], loras: Iterable[Lora]) -> bool:
    """Whether the tags name exactly these LoRAs with their weights."""
    meant = [(_name(lora), round(lora.weight, 6)) for lora in loras]
    return sorted(map(str, meant)) == sorted(str(_meaning(tag)) for tag in tags)


def block_weights(loras: Iterable[Lora]) -> str:
    """The LoRAs' weights for blocks as pictures name them."""
    return "; ".join(f"{_name(lora)}: {lora.blocks}" for lora in loras if lora.blocks)
