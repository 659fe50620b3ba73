"""What a picture says of its making: the webui's infotext, or ours."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ._c import ffi, lib
from .errors import c_path, c_text, check, new_error, text
from .options import Options, read_back
from .owner import Owner

# Which options a key sets; what they become is read from the library's own struct.
_OPTIONS = {
    "Negative prompt": ("negative_prompt",),
    "Steps": ("steps",),
    "Sampler": ("sampler",),
    "Schedule type": ("schedule",),
    "CFG scale": ("cfg",),
    "Seed": ("seed",),
    "Size": ("width", "height"),
    "Clip skip": ("clip_skip",),
    "ENSD": ("ensd",),
    "RNG": ("rng",),
    "Eta": ("eta",),
    "Eta DDIM": ("eta",),
    "Sigma noise": ("s_noise",),
    "Variation seed": ("variation_seed",),
    "Variation seed strength": ("variation_strength",),
    "Denoising strength": ("strength",),
    "VAE tile": ("vae_tile",),
}
_USES = {
    lib.UDUMP_PARAMETER_USED: "used",
    lib.UDUMP_PARAMETER_SILENT: "silent",
    lib.UDUMP_PARAMETER_LACKING: "lacking",
    lib.UDUMP_PARAMETER_UNKNOWN: "unknown",
}


class Parameters(Owner, Mapping[str, str]):
    """Keys and values: "Prompt", "Negative prompt", then "Steps", "Sampler", ... `generate(parameters=...)` takes them as its defaults.

    The prompt has its "<lora:NAME:0.8>", as ours have at their end: give these LoRAs to `load`, and take them off the prompt, where they
    would be words: `Lora.take` does both.

    `uses` says of each key whether it is "used", is "silent" (says nothing that could be done), is "lacking" (changes the picture, and is
    not there: "Hires upscale") or "unknown".
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, infotext: str | None = None) -> None:
        """From a PNG, or from the text itself.

        Raises FileError, FormatError, UnsupportedError (a PNG without that text), OutOfMemoryError.
        """
        held, error = ffi.new("udump_parameters **"), new_error()
        if (path is None) == (infotext is None):
            raise TypeError("Parameters takes a path or an infotext")
        if path is not None:
            check(lib.udump_parameters_read(c_path(path), held, error), error)
        else:
            check(lib.udump_parameters_parse(c_text(infotext or "", "infotext"), held, error), error)
        self._handle = ffi.gc(held[0], lib.udump_parameters_free)
        count = ffi.new("int32_t *")
        listed = ffi.unpack(lib.udump_parameters_list(self._handle, count), count[0])
        self._values = {text(item.key): text(item.value) for item in listed}
        self.uses = {text(item.key): _USES[item.use] for item in listed}

    def apply(self, options: Any) -> None:
        """Sets what is used in a udump_generate_options, which must not outlive this object. Raises ArgumentError (a bad value)."""
        error = new_error()
        check(lib.udump_parameters_apply(self._handle, options, error), error)

    def options(self) -> Options:
        """What is used, as keyword arguments of `Model.generate`, to be changed before they are given; the prompt is `self["Prompt"]`.

        Raises ArgumentError (a bad value).
        """
        held = ffi.new("udump_generate_options *")
        lib.udump_options_init(held, ffi.sizeof("udump_generate_options"))
        self.apply(held)
        names = [name for key in self for name in _OPTIONS.get(key, ())]
        options: Options = read_back(held, names)  # type: ignore[assignment]
        return options

    def __getitem__(self, key: str) -> str:
        """A key's value; the last one's if it comes twice."""
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        """The keys in the text's order."""
        return iter(self._values)

    def __len__(self) -> int:
        """How many keys."""
        return len(self._values)
