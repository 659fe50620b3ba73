"""Random notation, read by the library and by notation.py: check_notation.py LIBRARY [--seed N] [--seconds S]
The seed is printed; the same seed makes the same texts. What differs is printed, and ends the run with status 1."""
import argparse
import ctypes
import json
import pathlib
import random
import time
from ctypes import POINTER, Structure, byref, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint8, c_void_p

import notation


class Error(Structure):
    _fields_ = [("status", c_int32), *[(name, c_char * 256) for name in ("what", "where", "expected", "found")], ("offset", c_int64),
                ("line", c_int64), ("column", c_int64)]


class Piece(Structure):
    _fields_ = [("text", c_char_p), ("weight", c_double)]


class Part(Structure):
    _fields_ = [("text", c_char_p), ("weight", c_float), ("pieces", POINTER(Piece)), ("piece_count", c_int32)]


class Entry(Structure):
    _fields_ = [("until", c_int32), ("parts", POINTER(Part)), ("part_count", c_int32)]


class View(Structure):
    _fields_ = [("data", c_void_p), ("dtype", c_int32), ("rank", c_int32), ("shape", c_int64 * 6), ("stride", c_int64 * 6)]


class Image(Structure):
    _fields_ = [("pixels", c_void_p), ("width_px", c_int32), ("height_px", c_int32), ("channels", c_int32), ("row_bytes", c_size_t),
                ("columns", c_int32), ("rows", c_int32), ("tile_width_px", c_int32), ("tile_height_px", c_int32), ("owner", c_void_p)]


SYNTAX = 2


class Library:
    def __init__(self, path):
        self.c = ctypes.CDLL(path)
        self.c.udump_prompt_block.restype = self.c.udump_prompt_erased.restype = c_char_p
        self.c.udump_prompt_schedule.restype = POINTER(Entry)
        for function in ("udump_prompt_block", "udump_prompt_erased", "udump_prompt_schedule", "udump_prompt_free"):
            getattr(self.c, function).argtypes = None

    def parse_layers(self, text):
        selected, error = (c_uint8 * 25)(), Error()
        status = self.c.udump_layers_parse(None, text.encode(), selected, 25, byref(error))
        return None if status == SYNTAX else [i for i in range(25) if selected[i]]

    def parse_steps(self, text, total):
        selected, error = (c_uint8 * total)(), Error()
        status = self.c.udump_steps_parse(text.encode(), total, selected, None, byref(error))
        return None if status == SYNTAX else [i + 1 for i in range(total) if selected[i]]

    def parse_prompt(self, text, steps, negative=0):
        """None, or every block's (prompt, schedule) and the erased prompt."""
        prompt, error = c_void_p(), Error()
        status = self.c.udump_prompt_parse(None, text.encode(), steps, negative, byref(prompt), byref(error))
        if status:
            assert status == SYNTAX and error.what, (status, error.what, text)
            return None
        blocks = []
        for block in range(25):
            count = c_int32()
            entries = self.c.udump_prompt_schedule(prompt, block, byref(count))
            schedule = [(e.until, [(p.text.decode(), p.weight, [[q.text.decode(), q.weight] for q in p.pieces[: p.piece_count]])
                                   for p in e.parts[: e.part_count]]) for e in entries[: count.value]]
            blocks.append((self.c.udump_prompt_block(prompt, block).decode(), schedule))
        erased = self.c.udump_prompt_erased(prompt).decode()
        self.c.udump_prompt_free(prompt)
        return blocks, erased

    def grid(self, w, h, channels):
        values = (c_float * (w * h * channels))()
        view = View(ctypes.addressof(values), 0, 3, (c_int64 * 6)(channels, h, w), (c_int64 * 6)(w * h, w, 1))
        image, error = Image(), Error()
        assert self.c.udump_render(byref(view), None, byref(image), None, byref(error)) == 0, error.what
        found = [image.columns, image.rows]
        self.c.udump_image_free(byref(image))
        return found


# ---- random texts

def blanks(r):
    return " " * r.choice([0, 0, 0, 1, 2])


def make_spec(r, value, mistakes):
    items = []
    for _ in range(r.choice([1, 1, 2, 3, 5])):
        item = value()
        if r.random() < 0.6:
            item += blanks(r) + "-" + blanks(r) + value()
            if r.random() < 0.5:
                item += blanks(r) + "(" + blanks(r) + r.choice(["", "+"]) + str(r.choice([1, 2, 3, 7, 30])) + blanks(r) + ")"
        items.append(r.choice(["", item, item, item, item]))
    text = blanks(r) + ",".join(blanks(r) + item + blanks(r) for item in items)
    if r.random() < mistakes:
        at = r.randrange(len(text) + 1)
        text = text[:at] + r.choice(["0", "-", "(", ")", "x", "+", "_", ":", "IN00", " "]) + text[at + r.choice([0, 1]) :]
    return text


def block_spec(r, mistakes):
    return make_spec(r, lambda: r.choice(notation.BLOCKS), mistakes)


def words(r, marks=""):
    letters = "ab c,.é日!" + marks
    return "".join(r.choice(letters) for _ in range(r.randrange(0, 7)))


def layout(r):
    return r.choice(["", "", " ", "\n", "\n  ", "\t"])


def layer_prompt(r):
    text = words(r)
    for _ in range(r.choice([1, 1, 2])):
        entries = []
        for _ in range(r.randrange(0, 4)):
            spec = "_" if r.random() < 0.3 else block_spec(r, 0.02)
            value = words(r, "()[]|") + r.choice(["", "", "\\;", "\\(", "\\\\", "\n"]) + words(r)
            entries.append(layout(r) + spec + blanks(r) + ":" + value)
        text += "(~:" + ";".join(entries) + r.choice(["", ";", ";\n"]) * bool(entries) + layout(r) + ":~)" + words(r) + r.choice(["", "", "\\(~:", ":~)"])
    if r.random() < 0.05:
        at = r.randrange(len(text) + 1)
        text = text[:at] + r.choice([";", ":", "(~:", ":~)", "_", "\\"]) + text[at + r.choice([0, 1]) :]
    return text


def emphasis(r):
    parts = ["(", ")", "[", "]", "a", " b", "\\(", "\\]", "\\\\", "\\x", ":", ":1.3)", ":.5)", ":2)", ":1e1)", ":-1)", " BREAK ", "BREAK", "x BREAKy", "日"]
    return "".join(r.choice(parts) for _ in range(r.randrange(0, 14)))


def plain(r):
    return r.choice(["a", " b", "c d ", "x, y", "日本 ", "\\(e\\)", "f's "])


def when(r):
    return r.choice(["0.25", "0.5", ".75", "1.0", "0", "1", "3", "10", "99", "2.5"])


def tree(r, depth):
    """A schedule, and its text."""
    kind = r.randrange(6) if depth else 0
    if kind < 2:
        text = plain(r)
        return text, text
    if kind == 2:
        parts = [tree(r, depth - 1) for _ in range(r.choice([1, 2, 3]))]
        return ["all", *[node for node, _ in parts]], "".join(text for _, text in parts)
    if kind == 3:
        (node, text), weight = tree(r, depth - 1), r.choice(["", ":1.2"])
        return ["all", "(", node, weight + ")"], "(" + text + weight + ")"
    if kind == 4:
        parts = [tree(r, depth - 1) for _ in range(r.choice([2, 3]))]
        return ["turns", *[node for node, _ in parts]], "[" + "|".join(text for _, text in parts) + "]"
    (first, first_text), (second, second_text) = tree(r, depth - 1), tree(r, depth - 1)
    number = when(r)
    form = r.randrange(3)
    spaced = r.choice(["", " "]) + number + r.choice(["", " "])
    if form == 0:
        return ["from", "", second, number], "[" + second_text + ":" + spaced + "]"
    if form == 1:
        return ["from", first, "", number], "[" + first_text + "::" + spaced + "]"
    return ["from", first, second, number], "[" + first_text + ":" + second_text + ":" + spaced + "]"


# ---- comparing

def attempt(function, *arguments):
    try:
        return function(*arguments)
    except notation.Wrong:
        return None


def near(a, b):
    return len(a) == len(b) and all(x == y and abs(v - w) <= 1e-6 * max(1, abs(w)) for (x, v), (y, w) in zip(a, b))


def check_layers(library, r):
    text = block_spec(r, 0.15)
    return text, library.parse_layers(text), attempt(notation.parse_layers, text)


def check_steps(library, r):
    total = r.choice([1, 10, 20, 50])
    text = make_spec(r, lambda: str(r.choice([1, 2, 5, 10, 19, 20, 60])), 0.15)
    return f"{total}: {text}", library.parse_steps(text, total), attempt(notation.parse_steps, text, total)


def check_layer_prompts(library, r):
    text = layer_prompt(r)
    found = library.parse_prompt(text, 1, 1)
    return text, found and ([prompt for prompt, _ in found[0]], found[1]), attempt(notation.parse_layer_prompt, text)


def check_emphasis(library, r):
    text = emphasis(r)
    if "(~:" in text or "[" in text and ("|" in text or any(c.isdigit() for c in text)):
        text = text.replace("[", "").replace("]", "") # what might be a schedule
    found = library.parse_prompt(text, 1, 1)[0][0][1][-1][1][0][2]
    expected = notation.parse_emphasis(text)
    return text, True if near(found, expected) else found, True if near(found, expected) else expected


def check_schedules(library, r):
    node, text = tree(r, 3)
    steps = r.choice([1, 4, 10, 20])
    found = library.parse_prompt(text, steps, 1)
    return f"{steps}: {text}", [(until, parts[0][0]) for until, parts in found[0][0][1]], notation.schedule(node, steps)


def check_grid(library, r):
    w, h, channels = r.choice([1, 2, 3, 5, 8, 12]), r.choice([1, 2, 3, 7, 8]), r.choice([1, 2, 3, 4, 6, 10, 16, 20, 40, 64, 77, 96])
    return f"{w} {h} {channels}", library.grid(w, h, channels), notation.grid(w, h, channels)


CHECKS = [check_layers, check_steps, check_layer_prompts, check_emphasis, check_schedules, check_grid]


def check_vectors():
    """notation.py itself, against what the systems that users know gave."""
    data = pathlib.Path(__file__).parent.parent / "data/vectors"
    def read(name):
        return json.loads((data / name).read_text())
    for case in read("layer_specs.json"):
        found = attempt(notation.parse_layers, case["spec"])
        assert found is None if "blocks" not in case else [notation.BLOCKS[i] for i in found] == case["blocks"], case
    for case in read("layer_prompts.json"):
        if "runs" in case:
            blocks, erased = notation.parse_layer_prompt(case["prompt"])
            for first, last, text in case["runs"]:
                assert all(b == text for b in blocks[notation.BLOCKS.index(first) : notation.BLOCKS.index(last) + 1]), case
            assert erased == case["erased"], case
    for case in read("grid.json"):
        assert notation.grid(*case["tile"], case["channels"]) == case["grid"], case
    for case in read("prompt_syntax.json")["emphasis"]:
        assert near(notation.parse_emphasis(case["prompt"]), case["weights"]), case


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("library")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--seconds", type=float, default=10)
    options = arguments.parse_args()
    library, r = Library(options.library), random.Random(options.seed)
    check_vectors()
    counts, failures, end = dict.fromkeys(CHECKS, 0), 0, time.monotonic() + options.seconds
    while time.monotonic() < end and failures < 20:
        for check in CHECKS:
            text, found, expected = check(library, r)
            counts[check] += 1
            if found != expected:
                failures += 1
                print(f"FAILED: {check.__name__[6:]} of {text!r}\n  library: {found}\n  here:    {expected}")
    print(f"seed {options.seed}: {sum(counts.values())} texts, {failures} differ")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
