"""`unetdump sweep --engine ray`: the C command's options, for a sweep on a Ray cluster."""

from __future__ import annotations

import contextlib
import itertools
import math
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .errors import ArgumentError, Error, FileError, FormatError, NotationError, UnsupportedError, WeightsError
from .lora import Lora
from .pictures import read_png, resize
from .sweeps import Sweep

_SHORT = {"-m": "--model", "-p": "--prompt", "-n": "--negative-prompt", "-o": "--output", "-q": "--quiet", "-h": "--help"}
_FLAGS = {"--collect", "--json", "--force", "--quiet", "--help", "--cuda-eager", "--model-hash"}
_LISTS = {"--variant", "--replace", "--lora"}
_WHOLE = {"--width", "--height", "--steps", "--seed", "--variation-seed", "--ensd", "--clip-skip", "--vae-tile", "--threads"}
_WHOLE |= {"--batch-size", "--workers"}
_NUMBERS = {"--cfg", "--eta", "--s-noise", "--strength", "--variation-strength"}
_TEXTS = {"--model", "--vae", "--prompt", "--negative-prompt", "--init", "--sampler", "--scheduler", "--rng", "--device", "--cuda-module"}
_TEXTS |= {"--cuda-libraries", "--plan-cache", "--precision", "--prediction", "--embeddings", "--blocks", "--seeds", "--lora-weights"}
_TEXTS |= {"--diff", "--diff-steps", "--output", "--shard", "--engine", "--ray-address"}
OPTIONS = _FLAGS | _LISTS | _WHOLE | _NUMBERS | _TEXTS  # all that the C command knows; not what it means by them

_SEEDS_MOST = 10000  # the C command's
_BAD_INPUT = (ArgumentError, NotationError, FormatError, WeightsError, UnsupportedError, FileError, TypeError, OverflowError)


class _UsageError(Exception):
    """One line for standard error."""


def asks_for_ray(arguments: Sequence[str]) -> bool:
    """Whether --engine ray is among them; help is the C command's."""
    asked = "--engine=ray" in arguments or ("--engine", "ray") in itertools.pairwise(arguments)
    return asked and not {"-h", "--help"} & set(arguments)


def sweep_by_ray(arguments: Sequence[str]) -> int | list[str]:
    """Runs the sweep. The exit status, or how the C command is called to show what it came to."""
    try:
        given = _read(arguments)
        shown = ["sweep", "--collect", "-o", given["output"], *(["--json"] if given.pop("json", False) else [])]
        options = _options_of(given)
        for _ in Sweep(**options):
            pass
    except KeyboardInterrupt:
        return _end_interrupted()
    except (_UsageError, ImportError, *_BAD_INPUT) as error:
        return _fail(error, 2)
    except (Error, OSError) as error:  # ConnectionError: no cluster
        return _fail(error, 1)
    return shown


def _end_interrupted() -> int:
    """Ends by the signal, as the C command does, for a shell's loop to end too."""
    status = _fail("cancelled", 1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)
    return status


def _fail(reason: object, status: int) -> int:
    print("unetdump:", " ".join(str(reason).split()), file=sys.stderr)
    return status


# ---- from texts to values


def _read(arguments: Sequence[str]) -> dict[str, Any]:
    """By their names without dashes, as the C command reads them."""
    given: dict[str, Any] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=") if argument.startswith("--") else (argument, "", "")
        name = _SHORT.get(name, name)
        if name not in OPTIONS:
            raise _UsageError(f"unknown option '{argument}'" if argument.startswith("-") else f"unexpected argument '{argument}'")
        key = name[2:].replace("-", "_")
        if name in _FLAGS:
            given[key] = True
            continue
        text = value if equals else next(rest, None)
        if text is None:
            raise _UsageError(f"{name} needs a value")
        if name in _LISTS:
            given.setdefault(key, []).append(text)
        else:
            given[key] = _value(name, text)
    return _checked(given)


def _value(name: str, text: str) -> Any:
    if name in _WHOLE:
        return _number(name, text, int, "a whole number")
    return _number(name, text, float, "a number") if name in _NUMBERS else text


def _number(name: str, text: str, kind: Callable[[str], Any], expected: str) -> Any:
    with contextlib.suppress(ValueError):
        if math.isfinite(value := kind(text)):
            return value
    raise _UsageError(f"{name}: expected {expected}, found '{text}'")


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    for name, short in (("model", "-m MODEL"), ("prompt", "-p PROMPT"), ("output", "-o DIR")):
        if name not in given:
            raise _UsageError(f"sweep needs {short}")
    for refused in ("shard", "collect"):
        if refused in given:
            raise _UsageError(f"--{refused} is not for --engine ray")
    for name, needed in (("strength", "init"), ("diff_steps", "diff"), ("lora_weights", "lora")):
        if name in given and needed not in given:
            raise _UsageError(f"--{name.replace('_', '-')} needs --{needed}")
    if "seed" in given and "seeds" in given:
        raise _UsageError("--seed and --seeds: one of the two")
    return given


_RENAMED = {"scheduler": "schedule", "variant": "variants", "lora": "loras", "model_hash": "hash_files"}


def _options_of(given: dict[str, Any]) -> dict[str, Any]:
    """What `Sweep` is given."""
    quiet = given.pop("quiet", False) or not sys.stderr.isatty()
    options = {_RENAMED.get(name, name): value for name, value in given.items()}
    for name, read in _READERS.items():
        if name in options:
            options[name] = read(options[name])
    _read_init(options)
    return {**options, "progress": not quiet}


def _replaced(items: list[str]) -> list[tuple[str, str]]:
    pairs = [item.partition("=") for item in items]
    for (old, equals, _), item in zip(pairs, items, strict=True):
        if not (old and equals):
            raise _UsageError(f"--replace: expected OLD=NEW, found '{item}'")
    return [(old, new) for old, _, new in pairs]


def _blocks(text: str) -> list[str]:
    blocks = [item.strip() for item in text.split(";") if item.strip()]
    if not blocks:
        raise _UsageError("--blocks: no block is named: expected layer specs, ';' between them")
    return blocks


def _seeds(text: str) -> list[int]:
    seeds: list[int] = []
    for item in text.split(","):
        first, _, last = item.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or "-" not in item)) or int(last or first) < int(first):
            raise _UsageError(f"--seeds: expected numbers and ranges, 1,2,10-13, found '{text}'")
        if int(last or first) - int(first) + len(seeds) >= _SEEDS_MOST:
            raise _UsageError(f"--seeds: more than {_SEEDS_MOST}")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def _weights(text: str) -> list[float]:
    return [_number("--lora-weights", item, float, "numbers, 0.5,1") for item in text.split(",")]


def _loras(items: list[str]) -> list[Lora]:
    return [Lora.parse(item) for item in items]


_READERS: dict[str, Callable[[Any], Any]] = {
    "replace": _replaced,
    "blocks": _blocks,
    "seeds": _seeds,
    "lora_weights": _weights,
    "loras": _loras,
}


def _read_init(options: dict[str, Any]) -> None:
    """A picture to begin from: its size is the run's where none is asked for."""
    if "init" not in options:
        return
    picture = read_png(options["init"])
    asked = "width" in options or "height" in options
    width, height = (options.get("width", 512), options.get("height", 512)) if asked else tuple(side // 8 * 8 for side in picture.size)
    options["init"] = picture if picture.size == (width, height) else resize(picture, width, height)
    options["width"], options["height"] = width, height
