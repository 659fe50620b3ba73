"""Count how often the demo model draws what 100 prompts ask for.

    check.py FILE.png ... --prompts prompts.txt    judge given pictures
    check.py --diffusers --model ../../models/demo  sample with diffusers
    check.py --unetdump PATH --model ../../models/demo   sample with unetdump
    check.py --verify [--model ../../models/demo]   judge the judge

The judge is plain image analysis. The commonest palette colour along the frame
is the background, the commonest other one inside is the shape's. The shape is
the one whose drawing, fitted in place and size, overlaps best with the pixels
of the second colour; below an overlap of 0.7 there is no shape.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import world

NAMES = list(world.COLOURS)
PALETTE = np.array(list(world.COLOURS.values()), np.float32) / 255
FRAME, LEAST_AREA, LEAST_OVERLAP = 3, 0.02, 0.7


def judge(picture):
    """(colour, shape, background, overlap) seen in a picture [H, W, 3] of 0..1."""
    nearest = np.square(picture[:, :, None] - PALETTE).sum(-1).argmin(-1)
    inner = np.zeros(nearest.shape, bool)
    inner[FRAME:-FRAME, FRAME:-FRAME] = True
    back = np.bincount(nearest[~inner], minlength=len(NAMES)).argmax()
    counts = np.bincount(nearest[inner], minlength=len(NAMES))
    counts[back] = 0
    fore = counts.argmax()
    if counts[fore] < LEAST_AREA * nearest.size:
        return None, None, NAMES[back], 0.0
    axis = PALETTE[fore] - PALETTE[back]
    mask = np.clip((picture - PALETTE[back]) @ axis / (axis @ axis), 0, 1)
    overlaps = {shape: fit(mask, shape) for shape in world.SHAPES}
    shape = max(overlaps, key=overlaps.get)
    best = overlaps[shape]
    return NAMES[fore], shape if best >= LEAST_OVERLAP else None, NAMES[back], best


def fit(mask, shape):
    """The best overlap (soft intersection over union) of a shape's drawing with a mask."""
    height, width = mask.shape
    y, x = np.mgrid[:height, :width] + 0.5
    weight = np.where(mask > 0.5, mask, 0) + 1e-9
    unit = world.coverage({"shape": shape, "cx": 64, "cy": 64, "r": 40}).sum() / 40 ** 2
    at = {"cx": (x * weight).sum() / weight.sum(), "cy": (y * weight).sum() / weight.sum(),
          "r": max(4.0, np.sqrt(weight.sum() / unit)), "shape": shape}
    best, step = overlap(mask, at), 4.0
    while step >= 0.5:
        moved = False
        for key in ("cx", "cy", "r"):
            for sign in (-1, 1):
                tried = {**at, key: max(2.0, at[key] + sign * step)}
                value = overlap(mask, tried)
                if value > best:
                    best, at, moved = value, tried, True
        if not moved:
            step /= 2
    return best


def overlap(mask, scene):
    height, width = mask.shape
    drawn = world.coverage(scene, width, height)
    return float(np.minimum(mask, drawn).sum() / np.maximum(mask, drawn).sum())


def prompts(count=100):
    """The fixed prompts: different scenes, drawn evenly; (text, colour, shape, background)."""
    rng = np.random.default_rng(20240501)
    every = [(c, s, b) for c in NAMES for s in world.SHAPES for b in NAMES if b != c]
    chosen = [every[n] for n in rng.permutation(len(every))[:count]]
    return [(world.caption({"colour": c, "shape": s, "background": b}), c, s, b)
            for c, s, b in chosen]


def read(path):
    return np.asarray(Image.open(path).convert("RGB"), np.float32) / 255


def score(pictures, wanted, report=None):
    """Print how many pictures show what was wanted."""
    rows = []
    for picture, (text, colour, shape, background) in zip(pictures, wanted):
        c, s, b, fitted = judge(picture)
        rows.append({"prompt": text, "seen": [c, s, b], "overlap": round(fitted, 3),
                     "colour": c == colour, "background": b == background, "shape": s == shape})
    total = len(rows)
    both = sum(r["colour"] and r["background"] for r in rows)
    everything = sum(r["colour"] and r["background"] and r["shape"] for r in rows)
    parts = {k: sum(r[k] for r in rows) for k in ("colour", "background", "shape")}
    print(f"{total} pictures: shape's colour {parts['colour']}, background {parts['background']}, "
          f"both colours {both}, shape {parts['shape']}, everything {everything}; "
          f"mean overlap {np.mean([r['overlap'] for r in rows]):.3f}")
    if report:
        Path(report).write_text(json.dumps(rows, indent=1) + "\n")
    return both, parts["shape"]


def sample_unetdump(args, wanted):
    pictures = []
    for number, (text, *_) in enumerate(wanted):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([args.unetdump, "generate", "-m", args.model, "-p", text, "-o", folder,
                            "--width", "128", "--height", "128", "--steps", str(args.steps),
                            "--cfg", str(args.cfg), "--seed", str(args.seed + number), "--quiet"],
                           check=True)
            pictures.append(read(Path(folder) / "000.png"))
    return pictures


def sample_diffusers(args, wanted, batch=20):
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
    pipe = StableDiffusionPipeline.from_pretrained(args.model)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = EulerDiscreteScheduler.from_config(
        pipe.scheduler.config, timestep_spacing="linspace", clip_sample=None)
    pictures = []
    for start in range(0, len(wanted), batch):
        texts = [w[0] for w in wanted[start:start + batch]]
        noise = [torch.Generator().manual_seed(args.seed + start + n) for n in range(len(texts))]
        pictures += list(pipe(texts, num_inference_steps=args.steps, guidance_scale=args.cfg,
                              height=128, width=128, generator=noise, output_type="np").images)
    return [np.round(p * 255).astype(np.float32) / 255 for p in pictures]


def round_trip(model, pictures):
    """Pictures encoded and decoded by the model's autoencoder."""
    import torch
    from diffusers import AutoencoderKL
    vae = AutoencoderKL.from_pretrained(model, subfolder="vae")
    out = []
    with torch.no_grad():
        for picture in pictures:
            x = torch.from_numpy(picture).permute(2, 0, 1)[None] * 2 - 1
            y = vae.decode(vae.encode(x).latent_dist.mean).sample[0]
            out.append((y / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy())
    return out


def verify(args, count=600):
    """Judge pictures whose content is known."""
    rng = np.random.default_rng(7)
    scenes = [world.random_scene(rng) for _ in range(count)]
    wanted = [("", s["colour"], s["shape"], s["background"]) for s in scenes]
    drawn = [world.render(s).transpose(1, 2, 0) for s in scenes]
    print("drawn: ", end="")
    score(drawn, wanted)
    if args.model:
        back = round_trip(args.model, drawn)
        error = np.mean([np.abs(a - b).mean() for a, b in zip(drawn, back)])
        print(f"through the autoencoder (mean error {error * 255:.2f} of 255): ", end="")
        score(back, wanted)


def contact_sheet(pictures, path, columns=10):
    rows = [np.concatenate(pictures[n:n + columns], 1) for n in range(0, len(pictures), columns)]
    rows = [np.pad(r, ((0, 0), (0, rows[0].shape[1] - r.shape[1]), (0, 0))) for r in rows]
    Image.fromarray((np.concatenate(rows) * 255).round().astype(np.uint8)).save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="*", help="PNG files to judge, one for each prompt")
    parser.add_argument("--prompts", help="text file with the files' prompts, one a line")
    parser.add_argument("--diffusers", action="store_true")
    parser.add_argument("--unetdump", help="path of the unetdump program")
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--model")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg", type=float, default=3.5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sheet", help="write all pictures into this PNG file")
    parser.add_argument("--report", help="write the single results into this JSON file")
    parser.add_argument("--least", type=int, nargs=2, metavar=("COLOURS", "SHAPE"),
                        help="fail when fewer pictures have both colours or the shape right")
    args = parser.parse_args()
    if args.verify:
        return verify(args)
    wanted = prompts(args.count)
    if args.files:
        texts = Path(args.prompts).read_text().splitlines()
        wanted = [(t, *(t.split()[n] for n in (1, 2, 5))) for t in texts if t]
        pictures = [read(f) for f in args.files]
    elif args.unetdump:
        pictures = sample_unetdump(args, wanted)
    elif args.diffusers:
        pictures = sample_diffusers(args, wanted)
    else:
        parser.error("give files, --diffusers, --unetdump or --verify")
    if args.sheet:
        contact_sheet(pictures, args.sheet)
    result = score(pictures, wanted, args.report)
    if args.least and any(got < least for got, least in zip(result, args.least)):
        sys.exit(1)


if __name__ == "__main__":
    main()
