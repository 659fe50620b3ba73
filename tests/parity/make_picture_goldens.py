"""Write goldens/pictures.safetensors: what Pillow, torch and diffusers make of pictures.

    png/NAME              [h, w, 3]: tests/fuzz/corpus/png/NAME opened by Pillow and laid over white, 0..255
    resize/WxH            [H, W, 3]: picture(37, 45) resized by Pillow's Lanczos filter, rows first in any version, 0..255
    turn/AMOUNT           [4, 5, 3]: the webui's slerp(AMOUNT, noise, other); of turn/same, other is nearly noise
    turn/noise, turn/other, turn/near
    encode/HxW            [8, h, w]: moments of picture(H, W) by diffusers' AutoencoderKL of models/demo
    img2img/noise         [1, 4, 8, 8]
    img2img/SAMPLER       [1, 4, 8, 8]: the latent after STEPS steps at STRENGTH from picture(64, 64), as the webui runs it

Needs what make_goldens.py needs, and Pillow.

    python tests/parity/make_picture_goldens.py
"""
import math
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from make_goldens import CFG, NEGATIVE, PROMPT, encode, save, uniform_schedule

ROOT = Path(__file__).resolve().parents[2]
PNGS = ["rgb-text", "rgba", "grey", "grey-alpha", "palette", "palette-transparent", "one-bit", "interlaced", "itxt", "text-behind"]
RESIZED = [(45, 37), (64, 64), (16, 24), (45, 8), (200, 37), (7, 5)]
ENCODED = [(64, 64), (120, 136)]
STEPS, STRENGTH = 5, 0.7


def picture(height, width):
    """Colours that change fast and slowly; the same formula is in tests/unit/test_pictures.c."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return ((x * 7 + y * 3 + c * 50 + x * y % 31) % 256).astype(np.uint8)


def over_white(path):
    opened = Image.open(path).convert("RGBA")
    white = Image.new("RGBA", opened.size, "#ffffff")
    white.paste(opened, mask=opened)
    return torch.tensor(np.array(white.convert("RGB")))


def turn(amount, low, high):
    low_unit, high_unit = low / torch.norm(low, dim=1, keepdim=True), high / torch.norm(high, dim=1, keepdim=True)
    dot = (low_unit * high_unit).sum(1)
    if dot.mean() > 0.9995:
        return low * amount + high * (1 - amount)
    omega = torch.acos(dot)
    sine = torch.sin(omega)
    return (torch.sin((1 - amount) * omega) / sine)[:, None] * low + (torch.sin(amount * omega) / sine)[:, None] * high


def turn_goldens():
    generator = torch.Generator().manual_seed(3)
    noise, other = torch.randn(4, 5, 3, generator=generator), torch.randn(4, 5, 3, generator=generator)
    near = noise + 1e-3 * other
    kept = {"turn/noise": noise, "turn/other": other, "turn/near": near, "turn/same": turn(0.25, noise, near)}
    return kept | {f"turn/{amount}": turn(amount, noise, other) for amount in (0.05, 0.5, 1.0)}


def as_input(array):
    return (torch.tensor(array).float() / 255).permute(2, 0, 1)[None] * 2 - 1


def moments(vae, height, width):
    return vae.encode(as_input(picture(height, width))).latent_dist.parameters[0]


class Denoiser:
    def __init__(self, pipe):
        self.unet, self.context = pipe.unet, torch.cat([encode(pipe, PROMPT), encode(pipe, NEGATIVE)])

    def eps(self, scaled, timestep):
        cond, uncond = self.unet(scaled.expand(2, -1, -1, -1), torch.tensor(timestep).expand(2), self.context).sample[:, None]
        return uncond + CFG * (cond - uncond)


def euler_from(pipe, denoiser, latent, noise):
    part = int(min(STRENGTH, 0.999) * STEPS)
    timesteps, sigmas = (kept[STEPS - part - 1:] for kept in uniform_schedule(pipe.scheduler, STEPS))
    x = latent + noise * sigmas[0]
    for timestep, sigma, after in zip(timesteps, sigmas, sigmas[1:]):
        eps = denoiser.eps(x / math.sqrt(sigma.item() ** 2 + 1), timestep.item())
        x = x + eps * (after - sigma)
    return x


def ddim_from(pipe, denoiser, latent, noise):
    """The picture is noised to one timestep more than the first that is evaluated."""
    part = int(min(STRENGTH, 0.999) * STEPS)
    timesteps = [min(t + 1, 999) for t in range(0, 1000, 1000 // STEPS)]
    alphas = pipe.scheduler.alphas_cumprod.double()
    x = latent * alphas[timesteps[part]].sqrt() + noise * (1 - alphas[timesteps[part]]).sqrt()
    for at in range(part - 1, 0, -1):
        alpha, before = alphas[timesteps[at]], alphas[timesteps[at - 1]]
        eps = denoiser.eps(x.float(), float(timesteps[at]))
        x = before.sqrt() * (x - (1 - alpha).sqrt() * eps) / alpha.sqrt() + (1 - before).sqrt() * eps
    return x


def img2img_goldens(pipe):
    denoiser = Denoiser(pipe)
    latent = moments(pipe.vae, 64, 64)[None, :4] * pipe.vae.config.scaling_factor
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    return {"img2img/noise": noise, "img2img/Euler": euler_from(pipe, denoiser, latent, noise),
            "img2img/DDIM": ddim_from(pipe, denoiser, latent, noise)}


@torch.no_grad()
def main():
    pipe = StableDiffusionPipeline.from_pretrained(ROOT / "models" / "demo", torch_dtype=torch.float32)
    kept = {f"png/{name}": over_white(ROOT / "tests/fuzz/corpus/png" / name) for name in PNGS}
    for width, height in RESIZED:
        resized = Image.fromarray(picture(37, 45)).resize((width, height), Image.Resampling.LANCZOS)
        kept[f"resize/{width}x{height}"] = torch.tensor(np.array(resized))
    kept |= turn_goldens()
    kept |= {f"encode/{height}x{width}": moments(pipe.vae, height, width) for height, width in ENCODED}
    kept |= img2img_goldens(pipe)
    save(Path(__file__).resolve().parent / "goldens" / "pictures.safetensors", kept, strength=str(STRENGTH), steps=str(STEPS))


if __name__ == "__main__":
    main()
