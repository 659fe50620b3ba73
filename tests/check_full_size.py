"""A model of Stable Diffusion 1.5's size runs at 512x512 within its weights and 1 GB.

check_full_size.py UNETDUMP RANDOM_MODEL FOLDER

The weights are random, made in FOLDER (2.1 GB, fp16) unless they are there. The limit counts them as they lie in their files: fp32 keeps them in
fp16 too, since nothing is lost.
"""
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

GIGABYTE = 10**9


def main():
    unetdump, random_model, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    model, out = folder / "sd15", folder / "out"
    if not (model / "text_encoder" / "model.safetensors").exists():
        subprocess.run([random_model, model, "f16"], check=True, stdout=subprocess.DEVNULL)
    start = time.monotonic()
    subprocess.run([unetdump, "generate", "-m", model, "-p", "a red circle", "-o", out, "--steps", "1", "--sampler", "Euler", "--features", ""], check=True)
    seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    run = json.loads((out / "manifest.json").read_text())["run"]
    weights = sum(path.stat().st_size for path in model.glob("*/*.safetensors"))
    limit = weights + GIGABYTE
    pictures = len(list(out.glob("*.png")))
    print(f"{weights / 2e6:.0f} M values, {run['precision']}: peak {peak / 1e9:.2f} GB, limit {limit / 1e9:.2f} GB, {seconds:.0f} s, {pictures} pictures")
    fine = peak <= limit and pictures == 26
    print(f"{int(fine)} passed, {int(not fine)} failed")
    return not fine


if __name__ == "__main__":
    sys.exit(main())
