"""What everybody is given, and what everybody must agree with: PyTorch in fp32. reference.py FOLDER SIDE BATCH GIVEN.json OUT

GIVEN.json: ids of the prompt, the other prompt and the negative prompt, sigma and timestep of the first step, cfg and the noise's file. Writes given.npz and
reference.npz into OUT: the text encoder's output, the U-Net's of the first step, all blocks' and maps of it, the picture after one Euler step to sigma 0.
"""
import json
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # not this folder, whose files have the names of what they wrap

import numpy as np

from peers import looking, pytorch


def main():
    folder, side, batch, given_path, out = sys.argv[1:]
    side, batch, out = int(side), int(batch), Path(out)
    g = json.loads(Path(given_path).read_text())
    peer = pytorch.Peer("pytorch-fp32", folder, g["threads"], side, batch, 0)
    peer.load()
    prompt, other, negative = (peer.text(np.array([ids])) for ids in (g["prompt"], g["other"], g["negative"]))
    noise, sigma = np.load(g["noise"]), g["sigma"]
    images = max(batch // 2, 1)
    latent = noise[:1] * sigma / np.sqrt(sigma**2 + 1)
    rows = [prompt] * images + [negative] * (batch - images)
    given = {"ids": np.array([g["prompt"]]), "timestep": np.float32(g["timestep"]), "latent": np.repeat(latent, batch, 0).astype(np.float32),
             "context": np.concatenate(rows), "four": np.concatenate([other, prompt, negative, negative])}
    found = {"text": prompt, "step": peer.step(given["latent"], g["timestep"], given["context"])}
    if batch == 2:
        cond, uncond = found["step"]
        given["last"] = noise[:1] * sigma - sigma * (uncond + g["cfg"] * (cond - uncond))[None]
        found["decode"] = peer.decode(given["last"])
        for row in looking.ROWS if "looking" in g else ():
            look = looking.Looking(peer.unet, row, out / "written")
            look.step(peer, given)
            found.update(look.outputs())
            look.remove()
    if "features IN01" in found:
        given["tiles"] = found["features IN01"]
        found["render"] = np.asarray(looking.canvas(given["tiles"]), np.float32)
    np.savez(out / "given.npz", **given)
    np.savez(out / "reference.npz", **found)


if __name__ == "__main__":
    main()
