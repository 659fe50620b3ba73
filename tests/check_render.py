#!/usr/bin/env python3
"""Compares `unetdump render` with an independent implementation of the pictures.

Usage: check_render.py UNETDUMP [CASES [SEED]]

Random [channels, height, width] arrays, colours, transforms and averages go
through the command; its PNGs are decoded here and compared with NumPy,
Python's own expressions (evaluated for each pixel) and colorsys. Built-in
colours with exact transforms must agree to the byte; where float32 rounding of
a function decides (expressions, sigmoid), bytes may differ by one.
"""
import colorsys
import math
import random
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

F32 = np.float32


# ---- PNG ---------------------------------------------------------------------

def unfilter(raw, row_bytes, height, pixel_bytes):
    """Undoes the five filters; returns [height, row_bytes] bytes."""
    rows, above, at = [], [0] * row_bytes, 0
    for _ in range(height):
        kind, row = raw[at], list(raw[at + 1:at + 1 + row_bytes])
        at += 1 + row_bytes
        for i in range(row_bytes):
            left = row[i - pixel_bytes] if i >= pixel_bytes else 0
            up, corner = above[i], above[i - pixel_bytes] if i >= pixel_bytes else 0
            if kind == 4:
                nearest = min((abs(up - corner), 0, left), (abs(left - corner), 1, up), (abs(left + up - 2 * corner), 2, corner))
                add = nearest[2]
            else:
                add = (0, left, up, (left + up) // 2)[kind]
            row[i] = (row[i] + add) & 255
        rows.append(row)
        above = row
    assert at == len(raw), "more rows than the header says"
    return np.array(rows, np.uint8)


def read_png(path):
    """Grey, RGB and indexed pictures of 8 bits or fewer: [height, width, channels]."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG"
    at, chunks, palette = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0], "bad CRC"
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
        elif kind == b"PLTE":
            palette = np.frombuffer(body, np.uint8).reshape(-1, 3)
        elif kind == b"IDAT":
            chunks += body
        at += 12 + length
    assert colour in (0, 2, 3) and interlace == 0 and (depth == 8 or colour == 3), "a kind of PNG that is not expected"
    samples = 3 if colour == 2 else 1
    row_bytes = (width * samples * depth + 7) // 8
    rows = unfilter(zlib.decompress(chunks), row_bytes, height, max(1, samples * depth // 8))
    if depth < 8:
        bits = np.unpackbits(rows, axis=1).reshape(height, -1, depth)
        rows = np.packbits(np.pad(bits, ((0, 0), (0, 0), (8 - depth, 0))), axis=2)[:, :width, 0]
    if colour == 3:
        return palette[rows[:, :width]]
    return rows.reshape(height, width, samples)


# ---- expressions, as Python evaluates them for one pixel -------------------------

class Pixel:
    """A float32 whose comparisons are 1.0 or 0.0."""

    def __init__(self, value):
        self.value = F32(value)

    def __bool__(self):
        return bool(self.value != 0)

    def __neg__(self):
        return Pixel(-self.value)

    def __pos__(self):
        return self


def to_f32(value):
    return value.value if isinstance(value, Pixel) else F32(value)


def add_operators():
    plain = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "floordiv": np.floor_divide,
             "mod": np.remainder, "pow": np.power}
    for name, function in plain.items():
        setattr(Pixel, f"__{name}__", lambda a, b, f=function: Pixel(f(to_f32(a), to_f32(b))))
        setattr(Pixel, f"__r{name}__", lambda a, b, f=function: Pixel(f(to_f32(b), to_f32(a))))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        function = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal}[name]
        setattr(Pixel, f"__{name}__", lambda a, b, f=function: Pixel(1.0 if f(to_f32(a), to_f32(b)) else 0.0))


add_operators()


def lifted(function):
    """Of constants: in double. Of pixels: in float32."""
    def call(*arguments):
        if any(isinstance(a, Pixel) for a in arguments):
            return Pixel(function(*[to_f32(a) for a in arguments]))
        return float(function(*[np.float64(a) for a in arguments]))
    return call


NAMES = {name: lifted(getattr(np, name)) for name in (
    "abs sqrt exp log log2 log10 log1p expm1 sin cos tan tanh arcsin arccos arctan arctan2 sinh cosh floor ceil sign "
    "minimum maximum power hypot square").split()}
NAMES |= {
    "pi": math.pi, "e": math.e, "round": lifted(np.rint), "clip": lifted(lambda x, lo, hi: np.minimum(np.maximum(x, lo), hi)),
    "where": lambda c, a, b: a if c else b,
    "min": lifted(lambda *a: np.minimum.reduce(a)), "max": lifted(lambda *a: np.maximum.reduce(a)), "__builtins__": {},
}


def random_expression(rng, depth):
    """An expression whose values stay small, so that rounding does not grow."""
    def inner():
        return random_expression(rng, depth - 1)
    if depth == 0:
        return rng.choice(["v", "v", "v", "0.5", "2", "pi/3", "-v", "(1-v)", "1e-1", ".25", "3//2"])
    return rng.choice([
        lambda: f"({inner()} {rng.choice('+-*')} {inner()})",
        lambda: f"{inner()}/({rng.choice(['2', '3', 'e', '0.7'])})",
        lambda: f"(({inner()}) {rng.choice(['%', '//'])} {rng.choice(['0.25', '0.5', '2', '-0.5', '1'])})",
        lambda: f"({inner()})**{rng.choice(['2', '3', '1', '0'])}",
        lambda: f"abs({inner()})**{rng.choice(['0.5', '1.5'])}",
        lambda: f"-{inner()}**2",
        lambda: f"({inner()} if {inner()} {rng.choice(['<', '>', '<=', '>=', '!='])} {inner()} else {inner()})",
        lambda: f"(0.1 < {inner()} <= 0.8)",
        lambda: f"({inner()} > 0.25 {rng.choice(['and', 'or'])} {inner()} < 0.75)",
        lambda: f"(not {inner()} > 0.5)",
        lambda: f"{rng.choice(['sin', 'cos', 'tanh', 'arctan', 'abs', 'square', 'sign'])}({inner()})",
        lambda: f"{rng.choice(['exp', 'expm1', 'sinh', 'cosh'])}(clip({inner()}, -2, 2))",
        lambda: f"{rng.choice(['tan', 'arcsin', 'arccos'])}(clip({inner()}, -1, 1))",
        lambda: f"{rng.choice(['log1p', 'sqrt'])}(abs({inner()}))",
        lambda: f"{rng.choice(['log', 'log2', 'log10'])}(abs({inner()}) + 0.5)",
        lambda: f"{rng.choice(['floor', 'ceil', 'round'])}({rng.choice(['v*4', '(1-v)*3', 'v*8-2'])})/4",
        lambda: f"where({inner()} > 0.5, {inner()}, {inner()})",
        lambda: f"{rng.choice(['minimum', 'maximum', 'min', 'max', 'hypot'])}({inner()}, {inner()})",
        lambda: f"{rng.choice(['min', 'max'])}({inner()}, {inner()}, 0.3)",
        lambda: f"arctan2({inner()}, 1.5)",
        lambda: f"power(abs({inner()}) + 0.1, 1.25)",
    ])()


# ---- pictures ----------------------------------------------------------------

def extremes(values):
    """Of all tiles together that have neither NaN nor infinity."""
    finite = [tile for tile in values if np.isfinite(tile).all()]
    return (min(tile.min() for tile in finite), max(tile.max() for tile in finite)) if finite else (F32(0), F32(0))


def transform(tile, kind, numbers, grey, canvas):
    tile = tile.astype(F32)
    kind, _, whole = kind.partition(":")
    if kind in ("auto01", "auto11"):
        low, high = canvas if whole else (tile.min(), tile.max())
        if not np.isfinite(tile).all() or low == high:
            return tile
        unit = (tile - low) / (high - low)
        return unit if kind == "auto01" else (unit - F32(0.5)) * F32(2)
    if kind == "linear":
        low, high = numbers
        clamped = np.clip(tile, F32(low), F32(high))
        if grey:
            smallest = 0.0 if low * high < 0 else min(abs(low), abs(high))
            return (np.abs(clamped) - F32(smallest)) / F32(max(abs(low), abs(high)) - smallest)
        return ((clamped - F32(low)) / F32(high - low) - F32(0.5)) * F32(2)
    gain, offset = numbers
    centred = F32(1) / (F32(1) + np.exp(F32(-gain) * (tile + F32(offset)))) - F32(0.5)
    return (np.abs(centred) if grey else centred) * F32(2)


def to_bytes(values):
    scaled = np.clip(np.asarray(values, F32) * F32(256), 0, 255)
    return np.where(np.isnan(scaled), 0, scaled).astype(np.uint8)


def colour(tile, kind, expressions):
    """[height, width] to [height, width, 1 or 3] bytes."""
    if kind == "white-black":
        return to_bytes(tile)[..., None]
    if kind == "red-blue":
        zero = np.zeros_like(tile)
        return to_bytes(np.stack([np.where(tile > 0, tile, zero), zero, np.where(tile < 0, -tile, zero)], -1))
    codes = [compile(text.strip(), "color", "eval") for text in expressions]
    pixels = []
    for value in tile.ravel():
        channels = [to_f32(eval(code, dict(NAMES), {"v": Pixel(value)})) for code in codes]
        if kind == "hsl":
            hue, saturation, lightness = channels
            channels = colorsys.hls_to_rgb(hue, lightness, saturation)
        pixels.append([F32(c) for c in channels])
    return to_bytes(np.array(pixels, F32)).reshape(*tile.shape, 3)


def grid(width, height, count):
    sides = [width, height]
    while count % 2 == 0:
        sides[sides.index(min(sides))] *= 2
        count //= 2
    sides[sides.index(min(sides))] *= count
    if sides[0] > sides[1]:
        while sides[0] > 2 * sides[1] and sides[0] // width % 2 == 0:
            sides = [sides[0] // 2, sides[1] * 2]
    else:
        while 2 * sides[0] < sides[1] and sides[1] // height % 2 == 0:
            sides = [sides[0] * 2, sides[1] // 2]
    return sides[0] // width, sides[1] // height


def picture(values, case):
    count, height, width = values.shape
    grey = case["kind"] == "white-black"
    columns, rows = grid(width, height, count)
    canvas_range = extremes(values)
    canvas = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1, 1 if grey else 3), np.uint8)
    for i, tile in enumerate(values):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        canvas[top:top + height, left:left + width] = colour(
            transform(tile, case["transform"], case["numbers"], grey, canvas_range), case["kind"], case["expressions"])
    return canvas


def average_of(values, kind):
    wide, count = values.astype(np.float64), len(values)
    total = {"sum": lambda: wide.sum(0), "1-norm": lambda: np.abs(wide).sum(0), "2-norm": lambda: np.sqrt((wide * wide).sum(0))}[kind]()
    return (total / count).astype(F32)[None]


# ---- cases ---------------------------------------------------------------------

DEFAULT = ["(2+v)/3", "1.0", "0.5"]


def random_case(rng, index):
    kinds = ("default", "white-black", "red-blue", "rgb", "hsl")
    transforms = ("auto01", "auto11", "linear", "sigmoid", "auto01:canvas", "auto11:canvas")
    case = {"kind": kinds[index % 5], "transform": transforms[index // 5 % 6], "numbers": None, "expressions": None,
            "average": ("none", "sum", "1-norm", "2-norm")[index // 3 % 4], "color": None}
    if case["kind"] == "rgb":
        case["expressions"] = [random_expression(rng, rng.randint(0, 3)) for _ in range(3)]
    if case["kind"] == "hsl":
        case["expressions"] = [f"clip({random_expression(rng, rng.randint(0, 3))}, -3, 3)" for _ in range(3)]
    if case["expressions"]:
        case["color"] = case["kind"] + ":" + ";".join(case["expressions"])
    elif case["kind"] == "default":
        case["kind"], case["expressions"] = "hsl", DEFAULT
    else:
        case["color"] = case["kind"]
    case["exact"] = case["color"] in (None, "white-black", "red-blue") and case["transform"] != "sigmoid"
    case["option"] = case["transform"]
    if case["transform"] == "linear":
        case["numbers"] = sorted(round(rng.uniform(-3, 3), 2) for _ in range(2)) if rng.random() < 0.7 else [-1, 1]
        if case["numbers"][0] == case["numbers"][1]:
            case["numbers"] = [-1, 1]
    if case["transform"] == "sigmoid":
        case["numbers"] = [round(rng.uniform(-4, 4), 2), round(rng.uniform(-1, 1), 2)] if rng.random() < 0.7 else [1, 0]
    if case["numbers"] and (case["numbers"] not in ([-1, 1], [1, 0]) or rng.random() < 0.5):
        case["option"] += ":{},{}".format(*case["numbers"])
    return case


def random_values(rng, index):
    shape = rng.choice([(1, 1, 1), (4, 3, 5), (6, 4, 3), (12, 6, 4), (5, 3, 3), (16, 2, 9), (33, 5, 2), (64, 4, 4), (3, 7, 70), (40, 8, 8)])
    generator = np.random.default_rng(rng.getrandbits(32))
    values = (generator.standard_normal(shape) * generator.choice([0.5, 1, 5])).astype(F32)
    if index % 4 == 1:
        values[0] = rng.choice([0, 0.25, -0.5, 2])
    if index % 4 == 2:
        values[-1, 0, 0] = rng.choice([math.nan, math.inf, -math.inf])
    return np.asfortranarray(values) if rng.random() < 0.5 else values


def differences(path, expected, exact):
    found = read_png(path)
    if found.shape != expected.shape:
        return f"shape {found.shape}, not {expected.shape}"
    worst = int(np.abs(found.astype(int) - expected.astype(int)).max())
    return f"bytes differ by up to {worst}" if worst > (0 if exact else 1) else None


def run_case(command, rng, index, folder):
    """None, or what is wrong."""
    case, values = random_case(rng, index), random_values(rng, index)
    source, out = folder / f"{index}.npy", folder / f"{index}.png"
    np.save(source, values)
    arguments = [command, "render", str(source), "-o", str(out), "--transform", case["option"], "--average", case["average"]]
    if case["color"]:
        arguments += ["--color", case["color"]]
    done = subprocess.run(arguments, capture_output=True, text=True)
    what = f"{case['color']} {case['option']} {case['average']} {values.shape}"
    if done.returncode:
        return f"{what}: exit status {done.returncode}: {done.stderr.strip()}"
    with np.errstate(all="ignore"):
        wrong = differences(out, picture(values, case), case["exact"])
        if not wrong and case["average"] != "none":
            wrong = differences(folder / f"{index}-average.png", picture(average_of(values, case["average"]), case), case["exact"])
    return f"{what}: {wrong}" if wrong else None


BAD = [["--color", "blue"], ["--color", "rgb:v;v"], ["--color", "rgb:v;v+;v"], ["--color", "rgb:foo(v);v;v"], ["--color", "hsl:v.real;v;v"],
       ["--color", "rgb:clip(v);v;v"], ["--color", "rgb:__import__('os');v;v"], ["--color", "rgb:;v;v"], ["--color", "rgb:1/0;v;v"],
       ["--color", "rgb:lambda: 1;v;v"], ["--transform", "auto"], ["--transform", "linear:1,1"], ["--transform", "linear:1"],
       ["--transform", "sigmoid:a,b"], ["--average", "median"]]


def run_bad(command, arguments, folder):
    source, out = folder / "bad.npy", folder / "bad.png"
    np.save(source, np.zeros((2, 3, 4), F32))
    done = subprocess.run([command, "render", str(source), "-o", str(out), *arguments], capture_output=True, text=True)
    if done.returncode != 2 or out.exists() or not done.stderr.startswith("unetdump: "):
        return f"{arguments}: exit status {done.returncode}, not 2 with a message alone: {done.stderr.strip()}"
    return None


def main():
    command, cases = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 120
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = [run_case(command, rng, index, folder) for index in range(cases)]
        results += [run_bad(command, arguments, folder) for arguments in BAD]
    failures = [result for result in results if result]
    for failure in failures:
        print(failure)
    print(f"{len(results) - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
