"""What the page's fields say, as options of a run, and as the command that does the same."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from unetdump.errors import Error, bad_argument
from unetdump.model import Model
from unetdump.notation import parse_layers, parse_prompt, parse_steps
from unetdump.options import Options
from unetdump.pictures import read_png

from . import tags
from .blocks import describe, spec_of, with_attention
from .colours import Colours
from .typed import count, file

SAMPLERS = (
    *("Euler a", "Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun"),
    *("DPM++ 3M SDE", "DDIM", "PLMS", "UniPC", "LCM", "Restart", "DPM fast"),
)
SCHEDULES = (
    *("Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal", "Align Your Steps", "Simple"),
    *("Normal", "DDIM", "Beta"),
)
KINDS = {"K": "k", "Q*K": "qk", "V*Q*K": "vqk", "Self-attention": "self"}
AVERAGES = ("none", "sum", "1-norm", "2-norm")
DUMPS = ("none", "npy", "bin", "safetensors")
RNGS = {"GPU": "nv", "CPU": "cpu"}
SIDES = {"prompt": "cond", "negative prompt": "uncond", "both": "both"}
OF_STEPS = ("steps", "sampler", "schedule", "init", "strength")  # fields that decide how many steps there are
POINTS_MOST = 512 << 20  # bytes of all points' maps, as they are kept
QUERIES_MOST = 64


@dataclass(frozen=True)
class Looks:
    """One panel: whether, at which blocks, at which steps."""

    enabled: bool = False
    layers: str = ""
    steps: str = ""

    def spec(self) -> str | None:
        """The layer spec; None for none."""
        return self.layers.strip() if self.enabled else None

    def at(self) -> str | None:
        """The step spec; None for all."""
        return self.steps.strip() or None


@dataclass(frozen=True)
class Form:
    """All fields."""

    prompt: str = ""
    negative: str = ""
    sampler: str = SAMPLERS[0]
    schedule: str = SCHEDULES[0]
    steps: int = 20
    cfg: float = 7
    width: int = 512
    height: int = 512
    batch: int = 1
    seed: int = 0
    variation_seed: int = 0
    variation_strength: float = 0
    clip_skip: int = 1
    rng: str = "GPU"
    init: Path | None = None  #: a PNG to begin from, of width x height pixels
    strength: float = 0.75  #: how far to go from it
    features: Looks = field(default_factory=Looks)
    attention: Looks = field(default_factory=Looks)
    kinds: tuple[str, ...] = ("Q*K",)
    words: str = ""
    queries: str = ""
    points: bool = False  #: any point of the picture can be clicked on
    layer_prompts: bool = True
    diff: Looks = field(default_factory=Looks)
    colours: Colours = field(default_factory=Colours)
    average: str = AVERAGES[0]
    side: str = "prompt"
    dump: str = DUMPS[0]
    report: bool = False

    def prompts(self, model: Model) -> tuple[str, str]:
        """Prompt and negative prompt; without layer prompts, if these are off. Raises NotationError (for tags of LoRAs, too)."""
        tags.refuse(self.prompt)
        if self.layer_prompts:
            return self.prompt, self.negative
        parsed = parse_prompt(self.prompt, self.steps, model=model), parse_prompt(self.negative, self.steps, negative=True, model=model)
        return parsed[0].erased, parsed[1].erased

    def sampled(self, model: Model) -> int:
        """How many steps there are to look at."""
        options = Options(steps=self.steps, sampler=self.sampler, schedule=self.schedule)
        if self.init:
            options |= Options(init=Image.new("RGB", (8, 8)), strength=self.strength)  # any picture
        try:
            return model.count_evaluations(**options)
        except Error:  # the run will say it
            return self.steps

    def options(self, model: Model) -> Options:
        """Everything but the prompt. Raises ArgumentError, NotationError."""
        options = Options(
            negative_prompt=self.prompts(model)[1],
            width=self.width,
            height=self.height,
            steps=self.steps,
            sampler=self.sampler,
            schedule=self.schedule,
            cfg=self.cfg,
            seed=self.seed,
            clip_skip=self.clip_skip,
            rng=RNGS[self.rng],
            batch_size=self.batch,
            color=self.colours.color,
            transform=self.colours.transformed,
            average=self.average,
            side=SIDES[self.side],
        )
        if self.variation_strength:
            options |= Options(variation_seed=self.variation_seed, variation_strength=self.variation_strength)
        if self.init:
            options |= Options(init=read_png(self.init), strength=self.strength)
        if self.features.enabled:
            options |= Options(features=self.features.spec(), feature_steps=self.features.at())
        if self.diff.enabled:
            options |= Options(diff=self.diff.spec(), diff_steps=self.diff.at())
        return options | self._attend(model) if self.attention.enabled else options

    def _attend(self, model: Model) -> Options:
        kinds = [KINDS[kind] for kind in KINDS if kind in self.kinds] + (["self-map"] if self.points else [])
        if not kinds and not self.words.split():
            raise bad_argument("attention", "at least one output", "none")
        options = Options(attention=self.attention.spec(), attention_steps=self.attention.at(), attention_kinds=kinds, words=self.words)
        if self.queries.strip():
            options["self_queries"] = parse_queries(self.queries, self.width, self.height)
        if self.points and self.point_bytes(model) > POINTS_MOST:
            most = f"at most {POINTS_MOST / 2**30:.1f} GB: smaller blocks or fewer steps"
            raise bad_argument("self-attention of every point", most, f"{self.point_bytes(model) / 2**30:.1f} GB")
        return options

    def point_bytes(self, model: Model) -> int:
        """What the maps of all points take."""
        chosen, depths = parse_layers(self.attention.layers, model), {b.name: b.attention_depth for b in model.blocks}
        count = len(parse_steps(self.attention.steps, self.sampled(model)))
        shown = [b for b in describe(model, self.width, self.height) if b.name in chosen]
        return sum(2 * (b.width * b.height) ** 2 * depths[b.name] for b in shown) * count * self.batch

    def command(self, model: Model, loaded: Sequence[str]) -> str:
        """The command that writes the same files. loaded: what it is given to load the model."""
        options, prompt = self.options(model), self.prompts(model)[0]
        words = ["unetdump", "generate", *loaded, "-o", "out", "-p", prompt]
        if options["negative_prompt"]:
            words += ["-n", options["negative_prompt"]]
        words += ["--width", f"{self.width}", "--height", f"{self.height}", "--steps", f"{self.steps}", "--sampler", self.sampler]
        words += ["--cfg", _digits(self.cfg), "--seed", f"{self.seed}"]
        given = Form()
        for option, value, default in (
            ("--scheduler", self.schedule, given.schedule),
            ("--batch-size", f"{self.batch}", f"{given.batch}"),
            ("--clip-skip", f"{self.clip_skip}", f"{given.clip_skip}"),
            ("--rng", options["rng"], RNGS[given.rng]),
            ("--average", self.average, given.average),
            ("--side", options["side"], SIDES[given.side]),
            ("--color", options["color"], given.colours.color),
            ("--transform", options["transform"], given.colours.transformed),
            ("--dump", self._dumped(options), given.dump),
        ):
            words += [option, value] if value != default else []
        if self.variation_strength:
            words += ["--variation-seed", f"{self.variation_seed}", "--variation-strength", _digits(self.variation_strength)]
        words += ["--init", str(self.init), "--strength", _digits(self.strength)] if self.init else []
        words += self._looked(options) + (["--report"] if self.report else [])
        return shlex.join(words)

    def _kinds(self, options: Options) -> list[str]:
        """Of attention's kinds those that leave files: of self-map values are all that there is."""
        valued = self.dump in ("npy", "safetensors")
        return [kind for kind in options.get("attention_kinds") or () if kind != "self-map" or valued]

    def _attends(self, options: Options) -> bool:
        """Whether attention leaves any file; the command takes no option that would do nothing."""
        return options.get("attention") is not None and bool(self._kinds(options) or self.words.split())

    def _dumped(self, options: Options) -> str:
        """As what values are written, if there are any: the extension's files have Q*K alone."""
        attended = "qk" in self._kinds(options) if self.dump == "bin" else self._attends(options)
        return self.dump if attended or self.features.enabled or self.diff.enabled else DUMPS[0]

    def _looked(self, options: Options) -> list[str]:
        words: list[str] = []
        attends = self._attends(options)
        for name, steps in (("features", "feature_steps"), ("attention", "attention_steps"), ("diff", "diff_steps")):
            if options.get(name) is not None and (attends or name != "attention"):
                words += [f"--{name}", str(options.get(name))]
                words += [f"--{steps.replace('_', '-')}", str(options.get(steps))] if options.get(steps) else []
        if attends:
            kinds = self._kinds(options)  # where there are words the command's own choice is no kind
            words += ["--attention-kind", ",".join(kinds)] if kinds and (kinds != ["qk"] or self.words.split()) else []
            words += ["--attention-words", self.words] if self.words.split() else []
            words += ["--self-query", self.queries.strip()] if self.queries.strip() else []
        return words


def _digits(number: float) -> str:
    """As many as it has."""
    return f"{number:g}" if float(f"{number:g}") == number else repr(number)


def parse_queries(text: str, width: int, height: int) -> list[tuple[int, int]]:
    """Positions as the command has them: "64,64;10,20", or "grid:4x3", the centres of so many cells. Raises ArgumentError."""
    refused = bad_argument("self queries", f"x,y;x,y;... or grid:COLUMNSxROWS, at most {QUERIES_MOST} positions", text)
    text = text.strip()
    if grid := re.fullmatch(r"grid:(\d{1,2})x(\d{1,2})", text):
        columns, rows = int(grid[1]), int(grid[2])
        if not 1 <= columns * rows <= QUERIES_MOST:
            raise refused
        return [((2 * i + 1) * width // (2 * columns), (2 * j + 1) * height // (2 * rows)) for j in range(rows) for i in range(columns)]
    found = [re.fullmatch(r"\s*(\d{1,6})\s*,\s*(\d{1,6})\s*", pair) for pair in text.split(";")]
    points = [(int(pair[1]), int(pair[2])) for pair in found if pair]
    if len(points) != len(found) or len(points) > QUERIES_MOST:
        raise refused
    return points


def sampled(model: Model, *of_steps: Any) -> int:
    """How many steps there are to look at, by what is in the fields of OF_STEPS."""
    given = dict(zip(OF_STEPS, of_steps, strict=True))
    given |= {"steps": count(given["steps"]), "init": file(given["init"]), "strength": given["strength"] or 0}
    return Form(**given).sampled(model)


def default_steps(steps: int) -> str:
    """What is looked at unless somebody says otherwise: half-way, and the last."""
    return ",".join(str(step) for step in dict.fromkeys((max(steps // 2, 1), steps)))


def followed(spec: str, before: int, now: int, *, last: bool) -> str:
    """A step spec that nobody has changed goes with the number of steps. last: what nobody has changed is the last one alone.

    With one step both are "1".
    """
    plain = {default_steps(before): default_steps(now), f"{before}": f"{now}"}
    if before == 1:
        plain = {"1": f"{now}" if last else default_steps(now)}
    return plain.get(spec, spec)


def small_attention(model: Model, width: int, height: int, most: int = 32 * 32) -> str:
    """The attention that is looked at unless somebody says otherwise: of blocks of at most so many positions; "" if that is all."""
    able = with_attention(model)
    small = [b.name for b in describe(model, width, height) if b.name in able and b.width * b.height <= most]
    return "" if small == able else spec_of(small, able)
