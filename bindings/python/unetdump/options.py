"""What a run is asked for: the keyword arguments of `Model.generate`, `Model.stream` and `Session.table`, and the C struct they become."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from operator import index
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ._c import ffi, lib
from .errors import bad_argument, c_path, c_text, of_kind, text
from .owner import Owner
from .pictures import to_picture
from .views import to_view

if TYPE_CHECKING:
    from .parameters import Parameters


class Cancel(Owner):
    """A flag that ends a run within one step, from any thread: `generate(..., cancel=cancel)` then raises CancelledError."""

    def __init__(self) -> None:
        """Not raised."""
        self.handle = ffi.new("udump_cancel *")

    def set(self) -> None:
        """Raises the flag; it stays raised."""
        lib.udump_cancel_raise(self.handle)

    @property
    def is_set(self) -> bool:
        """Whether it was raised."""
        return bool(self.handle.raised)


class Sampling(TypedDict, total=False):
    """How pictures are made; what is not given has the command's defaults."""

    negative_prompt: str
    width: int  #: pixels, a multiple of 8; 512
    height: int  #: pixels, a multiple of 8; 512
    steps: int  #: 1 to 1000; 20
    sampler: str  #: "Euler a", "DPM++ 2M Karras", ...
    schedule: str  #: "Automatic", "Karras", ...
    eta: float
    s_noise: float
    ensd: int
    cfg: float  #: 7; 1 runs without the negative prompt
    seed: int  #: of the first image; image i has seed + i
    rng: str  #: "nv" or "cpu": whose torch.randn
    clip_skip: int
    variation_seed: int
    variation_strength: float  #: 0 to 1
    init: Image.Image | NDArray[np.uint8]  #: a picture of width x height pixels to begin from
    strength: float  #: how far to go from it, 0 to 1; 0.75
    vae_tile: int  #: pixels; 0 decodes pictures whole
    diff: str | None  #: whose outputs to compare: with layer prompts minus without, or minus those of `other`; in a sweep minus the base's
    diff_steps: str | None
    side: str  #: "cond", "uncond" or "both": whose rows are kept; "cond"
    cancel: Cancel


class Options(Sampling, total=False):
    """What may be given by keyword, with what `Sampling` has.

    Layer specs: None is none, "" all blocks, else "IN00,M00-OUT11(+2)". Step specs: None is all, else "1,5,10-20(+5)".
    """

    batch_size: int
    batch_count: int  #: batches one after the other; not with `stream`, `table` or `edit_context`
    noise: NDArray[Any]  #: [batch, 4, height / 8, width / 8] of unit variance, instead of the rng's
    features: str | None  #: whose outputs to keep
    feature_steps: str | None
    attention: str | None  #: whose attention to keep
    attention_steps: str | None
    attention_kinds: str | Sequence[str] | None  #: of k, qk, vqk, self, self-map; ("qk",), "qk self" and "qk,self" are alike
    words: str | Sequence[str] | None  #: of the prompt: their maps ("words") and their heat over the picture
    self_queries: Sequence[tuple[int, int]]  #: x, y in the image, in pixels: where these look
    color: str  #: of canvases, as for `render`
    transform: str
    average: str  #: "none", "sum", "1-norm", "2-norm": also draw the average
    canvases: bool  #: also keep everything as pictures; False
    tensors: bool  #: keep values in the result; True
    parameters: Parameters  #: a picture's own parameters, where nothing else is given


_NAMES = {"width": "width_px", "height": "height_px", "vae_tile": "vae_tile_px"}
_TEXTS = ("negative_prompt", "sampler", "schedule", "features", "feature_steps", "attention", "attention_steps", "diff", "diff_steps")
# 0 means "default" to the library; here it is a mistake.
_COUNTS = ("width", "height", "steps", "cfg", "batch_size", "batch_count", "clip_skip")
_NUMBERS = (*_COUNTS, "ensd", "seed", "variation_seed", "variation_strength", "vae_tile")
_DOUBLES = ("eta", "s_noise", "strength")
_RNGS = {"nv": lib.UDUMP_RNG_NV, "cpu": lib.UDUMP_RNG_CPU}
_SIDES = {"cond": lib.UDUMP_SIDE_COND, "uncond": lib.UDUMP_SIDE_UNCOND, "both": lib.UDUMP_SIDE_BOTH}
_AVERAGES = {"none": lib.UDUMP_AVERAGE_NONE, "sum": lib.UDUMP_AVERAGE_SUM, "1-norm": lib.UDUMP_AVERAGE_L1, "2-norm": lib.UDUMP_AVERAGE_L2}
_KINDS = {
    "k": lib.UDUMP_ATTEND_K,
    "qk": lib.UDUMP_ATTEND_QK,
    "vqk": lib.UDUMP_ATTEND_VQK,
    "self": lib.UDUMP_ATTEND_SELF,
    "self-map": lib.UDUMP_ATTEND_SELF_MAP,
}


def one_of(names: dict[str, int], where: str, name: str) -> int:
    """The number of a name. Raises ArgumentError."""
    if name not in names:
        raise bad_argument(where, "one of " + ", ".join(names), repr(name))
    return names[name]


def words_of(words: str | Sequence[str] | None, where: str) -> list[str]:
    """A list of words from one, or from a text with white space between them; of None an empty one. Raises TypeError."""
    if words is None or isinstance(words, str):
        return (words or "").split()
    return [of_kind(word, str, where) for word in of_kind(words, Iterable, where, "str, or a list of them")]


def _points(queries: Sequence[tuple[int, int]]) -> Any:
    """int32_t[]: x, y of each. Raises ArgumentError."""
    try:
        return ffi.new("int32_t[]", [index(value) for x, y in queries for value in (x, y)])
    except (TypeError, ValueError, OverflowError):
        raise bad_argument("self_queries", "x, y of each point, whole numbers: [(64, 64), (10, 20)]", repr(queries)) from None


class Struct:
    """A C struct of options and all that it points to."""

    def __init__(self, kind: str) -> None:
        """`kind`: "udump_style", filled with its defaults."""
        self.handle = ffi.new(f"{kind} *")
        lib.udump_options_init(self.handle, ffi.sizeof(kind))
        self._kept: list[Any] = []

    def keep(self, value: Any) -> Any:
        """Gives the value back, and holds it as long as the struct."""
        self._kept.append(value)
        return value

    def text(self, text: str | None, where: str) -> Any:
        """A C string for the struct to point to; where: the option, here and in what follows."""
        return ffi.NULL if text is None else self.keep(ffi.new("char[]", c_text(text, where)))

    def path(self, path: str | os.PathLike[str], where: str) -> Any:
        """A path for the struct to point to."""
        return self.keep(ffi.new("char[]", c_path(path, where)))

    def texts(self, texts: Sequence[str], where: str) -> Any:
        """An array of C strings for the struct to point to."""
        return self.keep(ffi.new("char *[]", [self.text(text, where) for text in texts]))

    def number(self, where: str, value: Any, field: str = "") -> None:
        """Sets a member that is a number, or points to one. Raises TypeError, OverflowError."""
        field = field or where
        member = getattr(self.handle, field)
        whole = isinstance(member, int)
        try:
            if isinstance(member, ffi.CData):
                value = self.keep(ffi.new("double[]", [value]))  # "double *" would take None for 0
            setattr(self.handle, field, index(value) if whole else value)
        except TypeError:
            raise TypeError(f"{where}: expected a {'whole ' if whole else ''}number, found {value!r}") from None
        except OverflowError as error:
            raise OverflowError(f"{where}: {error}, found {value!r}") from None


class Style(Struct):
    """udump_style."""

    def __init__(self, color: str | None, transform: str | None, average: str | None) -> None:
        """As `render` takes them; None: the defaults."""
        super().__init__("udump_style")
        self.handle.color, self.handle.transform = self.text(color, "color"), self.text(transform, "transform")
        self.handle.average = one_of(_AVERAGES, "average", average or "none")


class _Filler(Struct):
    """udump_generate_options from keyword arguments, option by option."""

    def __init__(self, prompt: str | None, given: dict[str, Any]) -> None:
        super().__init__("udump_generate_options")
        self.given = given
        if (parameters := given.get("parameters")) is not None:
            from .parameters import Parameters

            self.keep(of_kind(parameters, Parameters, "parameters")).apply(self.handle)
        if prompt is not None:
            self.handle.prompt = self.text(prompt, "prompt")
        self._plain()
        self._looks()
        self._data()
        self.handle.style = self.keep(Style(given.get("color"), given.get("transform"), given.get("average"))).handle

    def _plain(self) -> None:
        for name, value in self.given.items():
            if name in _COUNTS and value == 0:
                raise bad_argument(name, "a number other than 0", 0)
            field = _NAMES.get(name, name)
            if name in _TEXTS:
                setattr(self.handle, field, self.text(value, name))
            elif name in _NUMBERS or name in _DOUBLES:
                self.number(name, value, field)

    def _looks(self) -> None:
        o, given = self.handle, self.given
        if "rng" in given:
            o.rng = one_of(_RNGS, "rng", given["rng"])
        o.side = one_of(_SIDES, "side", given.get("side", "cond"))
        kinds = given.get("attention_kinds")
        for kind in words_of(kinds.replace(",", " ") if isinstance(kinds, str) else kinds, "attention_kinds"):
            o.attention_kinds |= one_of(_KINDS, "attention_kinds", kind)
        if words := words_of(given.get("words"), "words"):
            o.attention_words = self.text(" ".join(words), "words")
        if (queries := given.get("self_queries")) is not None:
            points = _points(queries)
            o.self_queries_px, o.self_query_count = self.keep(points), len(points) // 2
        o.no_canvas, o.want_tensors = not given.get("canvases", False), given.get("tensors", True)

    def _data(self) -> None:
        o, given = self.handle, self.given
        if (noise := given.get("noise")) is not None:
            o.noise = self.keep(to_view(np.asarray(noise)))[0]
        if (init := given.get("init")) is not None:
            o.init = self.keep(to_picture(init, "init", 3))[0]
        if (cancel := given.get("cancel")) is not None:
            o.cancel = self.keep(of_kind(cancel, Cancel, "cancel")).handle


def fill(prompt: str | None, given: dict[str, Any]) -> Struct:
    """udump_generate_options. Raises TypeError for an argument that there is not, ArgumentError for a name that there is not."""
    if unknown := set(given) - Options.__optional_keys__:
        raise TypeError(f"no such option: {', '.join(sorted(unknown))}")
    return _Filler(prompt, given)


def read_back(handle: Any, names: Sequence[str]) -> dict[str, Any]:
    """What a udump_generate_options has for options of how pictures are made; a number that it leaves to the library is not among them."""
    found: dict[str, Any] = {}
    for name in names:
        value = getattr(handle, _NAMES.get(name, name))
        if name == "rng":
            found[name] = next(key for key, number in _RNGS.items() if number == value)
        elif name in _TEXTS:
            found[name] = text(value)
        elif name not in _DOUBLES:
            found[name] = round(value, 6) if name == "cfg" else value  # a float32: the digits that were written
        elif value:
            found[name] = value[0]
    return found
