"""Pictures that the page is given: one to begin from, or one for what it says of its making."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from unetdump._c import lib
from unetdump.errors import FormatError, UnsupportedError
from unetdump.lora import Lora, LoraTag, take_lora_tags
from unetdump.options import Options
from unetdump.parameters import Parameters
from unetdump.pictures import read_png, resize, write_png

from . import tags
from .form import RNGS, SAMPLERS, SCHEDULES
from .typed import fits

INPUTS = "inputs"  # the folder beside the runs' that has what they began from
# What of a picture's parameters has a field, and in which field it goes.
_FIELDS = {"negative_prompt": "negative", **{name: name for name in ("steps", "cfg", "width", "height", "seed", "clip_skip", "strength")}}
_FIELDS |= {name: name for name in ("variation_seed", "variation_strength")}
_PNG = b"\x89PNG\r\n\x1a\n"
_KEYS = {"Steps": ("steps",), "CFG scale": ("cfg",), "Size": ("width", "height"), "Seed": ("seed",), "Clip skip": ("clip_skip",)}
_KEYS |= {"Variation seed": ("variation_seed",), "Variation seed strength": ("variation_strength",), "Denoising strength": ("strength",)}
# What a picture means that does not name it; and what was in the field is of another picture.
_MISSING: dict[str, Any] = {"schedule": SCHEDULES[0], "clip_skip": 1, "rng": "GPU", "init": None}
_MISSING |= {"variation_seed": -1, "variation_strength": 0}
_BLOCKS = "Lora block weights"
_NO_FIELDS = ("ENSD", "Eta", "Eta DDIM", "Sigma noise", "VAE tile")


def _pixels(path: Path) -> Image.Image:
    """RGB: a PNG as the command reads it; of others the right way up, of 16 bits the upper 8 as there, what is transparent over white."""
    with path.open("rb") as file:
        if file.read(len(_PNG)) == _PNG:
            return read_png(path)
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened)
    if upright.mode.startswith("I"):
        upright = Image.fromarray((np.asarray(upright).clip(0, 0xFFFF) >> 8).astype(np.uint8))
    picture = upright.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _opened(path: Path) -> Image.Image:
    """Raises FormatError with the file's own name alone."""
    what = "not a picture that can be read"
    try:
        return _pixels(path)
    except (FormatError, UnsupportedError) as failure:
        what = failure.what
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # all that Pillow raises
        pass
    raise FormatError(f"{path.name}: {what}", lib.UDUMP_ERROR_FORMAT, what=what, where=path.name)


def keep(path: Path, width: int, height: int, root: Path) -> Path:
    """A picture as a run of that size begins from it: a PNG in the runs' folder, named by its pixels, that any later run can have again.

    It is resized as the command does it. Raises OSError, Error.
    """
    picture = _opened(path)
    if picture.size != (width, height):
        picture = resize(picture, width, height)
    kept = root / INPUTS / f"{hashlib.sha256(picture.tobytes()).hexdigest()[:16]}-{width}x{height}.png"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not kept.exists():
        write_png(kept, picture)
    return kept


def _known(name: str, names: Iterable[str]) -> str | None:
    return next((known for known in names if known.lower() == name.strip().lower()), None)


def _sampler(options: Options) -> dict[str, str]:
    """The sampler and the schedule as the page has them; older pictures have "DPM++ 2M Karras" for both."""
    name, found = options.get("sampler", ""), {}
    for sampler in sorted(SAMPLERS, key=len, reverse=True):
        if name.lower().startswith(sampler.lower()):
            schedule = _known(name[len(sampler) :], SCHEDULES)
            if schedule or not name[len(sampler) :].strip():
                found = {"sampler": sampler, "schedule": schedule or SCHEDULES[0]}
                break
    if schedule := _known(options.get("schedule", ""), SCHEDULES):
        found["schedule"] = schedule
    return found


def _lost_loras(said: Parameters, named: list[LoraTag], loras: Sequence[Lora]) -> list[str]:
    """What of a picture's LoRAs is not loaded. named: its tags."""
    if not tags.are_loaded(named, loras):
        return [tag.text for tag in named] or ["the LoRAs of this page, which it was made without"]
    return [] if said.get(_BLOCKS, "") == tags.block_weights(loras) else [_BLOCKS]


def read(path: Path, loras: Sequence[Lora] = ()) -> tuple[dict[str, Any], list[str]]:
    """What a picture says of its making, by the name of the page's field; and what changes a picture but has no field here.

    What it does not name is as the webui has it then. loras: those of the model. Raises FileError, FormatError, UnsupportedError (a picture
    that says nothing), ArgumentError (a bad value).
    """
    said = Parameters(path)
    options = said.options()
    prompt, named = take_lora_tags(said["Prompt"])
    found: dict[str, Any] = {**_MISSING, "prompt": prompt}
    found |= {field: options[option] for option, field in _FIELDS.items() if option in options}  # type: ignore[literal-required]
    found |= _sampler(options)
    if "rng" in options:
        found["rng"] = next(name for name, rng in RNGS.items() if rng == options["rng"])
    lost = [key for key, use in said.uses.items() if key != _BLOCKS and (use in ("lacking", "unknown") or key in _NO_FIELDS)]
    lost += _lost_loras(said, named, loras) + (["the picture that it began from"] if "strength" in found else [])
    for key, names in _KEYS.items():
        if not all(fits(name, found[name]) for name in names if name in found):
            lost.append(key)
            found = {name: value for name, value in found.items() if name not in names}
    return found, lost + [key for key in ("Sampler",) if key in said and "sampler" not in found]
