"""The demo model's world: one coloured shape on a background of another colour.

Pictures are RGB float arrays [3, size, size] in 0..1, drawn from signed
distances and so antialiased. A scene is a dict with `shape`, `colour`,
`background`, `cx`, `cy` and `r`, lengths in pixels.
"""
import math

import numpy as np

SIZE = 128
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
COLOURS = {
    "red": (215, 35, 35),
    "green": (40, 165, 60),
    "blue": (35, 65, 215),
    "yellow": (245, 220, 45),
    "purple": (145, 45, 175),
    "orange": (245, 130, 25),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
}
MIN_RADIUS, MAX_RADIUS, MARGIN = 26.0, 46.0, 4.0


def _polygon(shape):
    """Corners of a polygonal shape in a circle of radius 1, y pointing down."""
    if shape == "triangle":
        angles, radii = np.arange(3) * 2 * math.pi / 3, np.ones(3)
    else:  # star
        angles, radii = np.arange(10) * math.pi / 5, np.tile([1.0, 0.42], 5)
    return np.stack([radii * np.sin(angles), -radii * np.cos(angles)], 1)


def _polygon_distance(x, y, corners):
    """Signed distance to a polygon (negative inside)."""
    best = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0)):
        ex, ey = bx - ax, by - ay
        px, py = x - ax, y - ay
        along = np.clip((px * ex + py * ey) / (ex * ex + ey * ey), 0, 1)
        best = np.minimum(best, (px - along * ex) ** 2 + (py - along * ey) ** 2)
        crosses = (ay > y) != (by > y)
        if crosses.any():
            inside ^= crosses & (x < ax + ex * (y - ay) / (ey if ey else 1.0))
    return np.where(inside, -1, 1) * np.sqrt(best)


def _box(x, y, w, h):
    dx, dy = np.abs(x) - w, np.abs(y) - h
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0)


def distance(shape, x, y):
    """Signed distance from (x, y) to the edge of a shape of radius 1."""
    if shape == "circle":
        return np.hypot(x, y) - 0.9
    if shape == "square":
        return _box(x, y, 0.8, 0.8)
    if shape == "ring":
        return np.abs(np.hypot(x, y) - 0.75) - 0.25
    if shape == "cross":
        return np.minimum(_box(x, y, 1.0, 0.32), _box(x, y, 0.32, 1.0))
    return _polygon_distance(x, y, _polygon(shape))


def coverage(scene, size=SIZE, height=None):
    """How much of each pixel the shape covers, [height, size] in 0..1."""
    y, x = np.mgrid[: height or size, :size] + 0.5
    r = scene["r"]
    d = distance(scene["shape"], (x - scene["cx"]) / r, (y - scene["cy"]) / r)
    return np.clip(0.5 - d * r, 0, 1).astype(np.float32)


def render(scene, size=SIZE):
    """The picture of a scene, [3, size, size]."""
    fore, back = (np.array(COLOURS[scene[k]], np.float32)[:, None, None] / 255
                  for k in ("colour", "background"))
    mask = coverage(scene, size)[None]
    return fore * mask + back * (1 - mask)


def random_scene(rng, size=SIZE, inside=True):
    """A random scene; `inside` keeps the shape within the picture."""
    colour, background = rng.choice(list(COLOURS), 2, replace=False)
    r = rng.uniform(MIN_RADIUS, MAX_RADIUS)
    low, high = (r + MARGIN, size - r - MARGIN) if inside else (-0.6 * r, size + 0.6 * r)
    return {"shape": str(rng.choice(SHAPES)), "colour": str(colour),
            "background": str(background), "r": r,
            "cx": rng.uniform(low, high), "cy": rng.uniform(low, high)}


def caption(scene):
    """The full caption: `a red circle on a blue background`."""
    article = "an" if scene["colour"][0] in "aeiou" else "a"
    other = "an" if scene["background"][0] in "aeiou" else "a"
    return f"{article} {scene['colour']} {scene['shape']} on {other} {scene['background']} background"


def caption_variants(scene):
    """(caption, probability) pairs, with what each says: colour, shape, background.

    What a caption leaves out is None. The empty caption is the tenth that
    classifier-free guidance needs.
    """
    c, s, b = scene["colour"], scene["shape"], scene["background"]
    full = caption(scene)
    an = full.split()[0]
    a_back = " ".join(full.split()[4:])
    return [
        (full, 0.70, (c, s, b)),
        (f"{c} {s} on {b} background", 0.05, (c, s, b)),
        (f"{c} {s}, {b} background", 0.03, (c, s, b)),
        (f"{an} {c} {s}", 0.04, (c, s, None)),
        (f"a {s}", 0.02, (None, s, None)),
        (f"a {s} on {a_back}", 0.02, (None, s, b)),
        (f"{a_back}", 0.02, (None, None, b)),
        (f"{c}", 0.02, (c, None, None)),
        ("", 0.10, (None, None, None)),
    ]
