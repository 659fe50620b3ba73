"""Write the golden tensors that the parity tests compare with.

Runs models/demo with diffusers in fp32 on the CPU, and samples as the webui
does with Euler and the "Uniform" schedule (k-diffusion, CFG 7). It writes into
goldens/ (all fp32):

    text.safetensors       cond, uncond: [77, width]
    HxW.safetensors        noise [1, 4, h, w]; timesteps and sigmas [steps, + 1];
                           image [3, H, W] in -1..1, and for step1, step2, ..
                           stepN/input   what the U-Net gets: scaled latent [1, 4, h, w]
                           stepN/BLOCK   output of an LDM block, rows cond, uncond
                           stepN/latent  the latent after the step

HxW are height and width in pixels. Of the odd sizes only the last step's
blocks are kept, and only some.
"""
import argparse
import math
import platform
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

PROMPT, NEGATIVE, CFG, SEED = "a red circle on a blue background", "blurry", 7.0, 1
SIZES = {(128, 128): 3, (192, 128): 2, (120, 136): 2}
SOME = ("IN00", "IN05", "IN09", "M00", "OUT02", "OUT05", "OUT08", "OUT11")
VERSIONS = {"torch": str(torch.__version__), "diffusers": diffusers.__version__,
            "transformers": transformers.__version__, "python": platform.python_version()}


def block_modules(unet):
    """The module whose output is the block's, for all 25 LDM blocks."""
    found = {"IN00": unet.conv_in}
    number = 1
    for block in unet.down_blocks:
        attentions = getattr(block, "attentions", [None] * len(block.resnets))
        for resnet, attention in zip(block.resnets, attentions):
            found[f"IN{number:02}"] = attention or resnet
            number += 1
        if block.downsamplers:
            found[f"IN{number:02}"] = block.downsamplers[0]
            number += 1
    found["M00"] = unet.mid_block
    number = 0
    for block in unet.up_blocks:
        attentions = getattr(block, "attentions", [None] * len(block.resnets))
        for resnet, attention in zip(block.resnets, attentions):
            found[f"OUT{number:02}"] = attention or resnet
            number += 1
        if block.upsamplers:
            found[f"OUT{number - 1:02}"] = block.upsamplers[0]
    assert len(found) == 25
    return found


def watch(unet, outputs):
    """Let every forward pass put the blocks' outputs into `outputs`."""
    for name, module in block_modules(unet).items():
        def keep(_module, _inputs, output, name=name):
            outputs[name] = (output[0] if isinstance(output, tuple) else
                             getattr(output, "sample", output)).clone()
        module.register_forward_hook(keep)


def uniform_schedule(scheduler, steps):
    """The webui's "Uniform": timesteps (not rounded) and sigmas, with a last 0."""
    alphas = scheduler.alphas_cumprod.double()
    log_sigmas = ((1 - alphas) / alphas).sqrt().log()
    timesteps = torch.linspace(len(alphas) - 1, 0, steps, dtype=torch.float64)
    low = timesteps.floor().long()
    high = (low + 1).clamp(max=len(alphas) - 1)
    part = timesteps - low
    sigmas = ((1 - part) * log_sigmas[low] + part * log_sigmas[high]).exp()
    return timesteps.float(), torch.cat([sigmas, sigmas.new_zeros(1)]).float()


def encode(pipe, text):
    ids = pipe.tokenizer(text, padding="max_length", max_length=77, return_tensors="pt").input_ids
    return pipe.text_encoder(ids).last_hidden_state


def sample(pipe, outputs, context, height, width, steps):
    """Sample one picture; returns the tensors of its golden file."""
    timesteps, sigmas = uniform_schedule(pipe.scheduler, steps)
    noise = torch.randn(1, 4, height // 8, width // 8, generator=torch.Generator().manual_seed(SEED))
    kept = {"noise": noise, "timesteps": timesteps, "sigmas": sigmas}
    x = noise * sigmas[0]
    for n in range(steps):
        scaled = x / math.sqrt(sigmas[n].item() ** 2 + 1)
        eps = pipe.unet(scaled.expand(2, -1, -1, -1), timesteps[n].expand(2), context).sample
        cond, uncond = (x - sigmas[n] * e for e in eps[:, None])
        denoised = uncond + CFG * (cond - uncond)
        slope = (x - denoised) / sigmas[n]
        x = x + slope * (sigmas[n + 1] - sigmas[n])
        kept[f"step{n + 1}/input"], kept[f"step{n + 1}/latent"] = scaled, x
        whole = (height, width) == (128, 128)
        for name in outputs if whole else SOME if n == steps - 1 else ():
            kept[f"step{n + 1}/{name}"] = outputs[name]
    kept["image"] = pipe.vae.decode(x / pipe.vae.config.scaling_factor).sample[0]
    return kept


def save(path, tensors, **more):
    save_file({k: v.float().contiguous().clone() for k, v in tensors.items()}, path,
              metadata={**VERSIONS, "prompt": PROMPT, "negative": NEGATIVE, **more})
    path.chmod(0o644)


@torch.no_grad()
def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=here.parents[1] / "models" / "demo")
    parser.add_argument("--out", type=Path, default=here / "goldens")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pipe = StableDiffusionPipeline.from_pretrained(args.model, torch_dtype=torch.float32)
    context = torch.cat([encode(pipe, PROMPT), encode(pipe, NEGATIVE)])
    save(args.out / "text.safetensors", {"cond": context[0], "uncond": context[1]})
    outputs = {}
    watch(pipe.unet, outputs)
    for (height, width), steps in SIZES.items():
        tensors = sample(pipe, outputs, context, height, width, steps)
        save(args.out / f"{height}x{width}.safetensors", tensors, cfg=str(CFG), seed=str(SEED),
             sampler="Euler", schedule="Uniform")
        print(f"{height}x{width}: {len(tensors)} tensors")


if __name__ == "__main__":
    main()
