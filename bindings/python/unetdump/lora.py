"""LoRAs: a file and its weights, and the webui's tags for them in a prompt."""

from __future__ import annotations

import os
from dataclasses import dataclass
from numbers import Real

from ._c import ffi, lib
from .errors import NotationError, bad_argument, c_path, c_text, check, new_error, of_kind, text

_PATH_BYTES = 4096


@dataclass(frozen=True)
class LoraTag:
    """One of the webui's LoRAs in a prompt: "<lora:NAME:0.8>"."""

    text: str  #: as it stands there
    offset: int  #: where, in code points
    name: str  #: what `Lora.find` finds
    weight: float
    blocks: str | None  #: "TE=0.625", "UNET=0", where the text encoders' weight is another than the U-Net's
    problem: str | None  #: why it means no LoRA: a hypernetwork, a weight that is none

    def misplaced(self, prompt: str, what: str) -> NotationError:
        """What is wrong with it in a prompt."""
        before = prompt[: self.offset]
        line, column = before.count("\n") + 1, self.offset - before.rfind("\n")
        return NotationError(what, lib.UDUMP_ERROR_SYNTAX, what=what, offset=self.offset, line=line, column=column)


def take_lora_tags(prompt: str) -> tuple[str, list[LoraTag]]:
    """The prompt without the webui's LoRAs, which a run would read as words, and these. Raises ArgumentError, OutOfMemoryError."""
    held, count, error, encoded = ffi.new("udump_lora_tags **"), ffi.new("int32_t *"), new_error(), c_text(prompt, "prompt")
    check(lib.udump_lora_tags_parse(encoded, held, error), error)
    try:
        found = lib.udump_lora_tags_list(held[0], count)
        tags = [
            LoraTag(
                text(tag.text),
                len(encoded[: tag.offset].decode()),
                text(tag.name),
                tag.weight,
                text(tag.block_weights) or None,
                text(tag.problem) or None,
            )
            for tag in (found[i] for i in range(count[0]))
        ]
        return text(lib.udump_lora_tags_prompt(held[0])), tags
    finally:
        lib.udump_lora_tags_free(held[0])


@dataclass(frozen=True)
class Lora:
    """A low-rank difference that is added to the weights while they load."""

    path: str | os.PathLike[str]
    weight: float = 1
    blocks: str | None = None  #: "IN04=0.5,OUT00-OUT08=0,TE=0.3", "UNET=0"; the others keep the weight

    def __post_init__(self) -> None:
        """Raises TypeError for a weight that is no number."""
        of_kind(self.weight, Real, "weight", "a number")

    @classmethod
    def parse(cls, text: str) -> Lora:
        """From FILE[:WEIGHT][:BLOCK WEIGHTS], as the command has it.

        A file's name may have colons: what follows the last one counts only if it reads as one of the two. Raises ArgumentError.
        """
        path, weight, blocks = text, "1", None
        head, colon, tail = path.rpartition(":")
        if colon and "=" in tail:
            path, blocks = head, tail
            head, colon, tail = path.rpartition(":")
        if colon and tail and not tail.strip("+-.0123456789"):
            path, weight = head, tail
        refused = bad_argument("--lora", "FILE[:WEIGHT][:BLOCK WEIGHTS]", text)
        if not path:
            raise refused
        try:
            return cls(path, float(weight), blocks)
        except ValueError:
            raise refused from None

    @classmethod
    def find(cls, folder: str | os.PathLike[str], name: str, weight: float = 1, blocks: str | None = None) -> Lora:
        """The one that the webui means by "<lora:NAME:WEIGHT>".

        NAME.safetensors in the folder or in those within it, else the file whose own metadata calls itself so. Raises FileError (there is
        none), OutOfMemoryError.
        """
        path, error = ffi.new("char[]", _PATH_BYTES), new_error()
        check(lib.udump_lora_find(c_path(folder), c_text(name, "name"), path, _PATH_BYTES, error), error)
        return cls(os.fsdecode(ffi.string(path)), weight, blocks)

    @classmethod
    def take(cls, prompt: str, folder: str | os.PathLike[str]) -> tuple[str, list[Lora]]:
        """The prompt without the webui's "<lora:NAME:WEIGHT>", and these, found in the folder: `loras` for `load`.

        Raises NotationError (a tag that means no LoRA), FileError (there is none of that name), ArgumentError, OutOfMemoryError.
        """
        rest, tags = take_lora_tags(prompt)
        for tag in tags:
            if tag.problem:
                raise tag.misplaced(prompt, f"{tag.text}: {tag.problem}")
        return rest, [cls.find(folder, tag.name, tag.weight, tag.blocks) for tag in tags]
