"""A run with layer prompts, and what each block's prompt then is: worked out by hand from the notation, never by the library.

    positive    a (~: IN00-IN06: red; OUT05-M00(+2): blue; OUT11: [green:white:2]; _: yellow :~) circle
                on a (~: IN05, OUT11: white; _: blue :~) background
    negative    (~: IN01-IN05: blurry; M00: dark :~)

Reversed range ends are swapped: M00-OUT05 in steps of 2 is M00, OUT01, OUT03, OUT05. The schedule is green at steps 1 and 2, then white.
"""
import torch

STEPS = 3
KEPT = {1: ("M00", "OUT05"), 3: ("IN01", "IN05", "M00", "OUT05", "OUT11")}

# Of the blocks with attention: the others see no prompt.
SHAPES = {"IN01": "red", "IN02": "red", "IN04": "red", "IN05": "red", "IN07": "yellow", "IN08": "yellow",
          "M00": "blue", "OUT03": "blue", "OUT04": "yellow", "OUT05": "blue",
          "OUT06": "yellow", "OUT07": "yellow", "OUT08": "yellow", "OUT09": "yellow", "OUT10": "yellow"}
GROUNDS = {"IN05": "white", "OUT11": "white"}  # else blue
NEGATIVES = {"IN01": "blurry", "IN02": "blurry", "IN04": "blurry", "IN05": "blurry", "M00": "dark"}  # else nothing


def enabled(block, step):
    shape = SHAPES.get(block) or ("green" if step <= 2 else "white")
    return f"a {shape} circle on a {GROUNDS.get(block, 'blue')} background", NEGATIVES.get(block, "")


def erased(_block, _step):
    return "a circle on a background", ""


PROMPTS = {"enabled": enabled, "erased": erased}


def norms(b, a):
    """[rows, 5]: of features b with and a without the layer prompts, and the largest magnitude of b."""
    b, a = b.double().flatten(1), a.double().flatten(1)
    moved = (b - a).norm(dim=1)
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return torch.stack([moved, moved / a.norm(dim=1), (b - a).abs().amax(1), cosine, b.abs().amax(1)], 1)
