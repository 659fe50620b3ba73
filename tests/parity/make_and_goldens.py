"""Write goldens/and.safetensors: a run on models/demo whose prompt AND joins.

    PARTS with their weights; each is run by itself, the second has two chunks.
    stepN/latent  [1, 4, h, w] after each step from the noise of 128x128
    step3/BLOCK   [3, channels, h, w]: a row for each part, then the negative prompt's

As the webui's CFGDenoiser: uncond + the sum of weight * CFG * (cond - uncond). As its reconstruct_multicond_batch: what has fewer tokens than the longest
of the parts gets its last row repeated; the negative prompt stays as it is.
"""
import argparse
import math
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from make_goldens import CFG, NEGATIVE, SIZES, encode, noise_of, uniform_schedule, watch

HEIGHT, WIDTH, STEPS = 128, 128, SIZES[128, 128]
PARTS = (("a red circle", 0.7), ("a green square " * 26, 0.45))  # 78 tokens: 75 and 3
BLOCKS = ("IN05", "OUT08")


def chunks(pipe, text):
    """75 tokens at a time, as the webui cuts a text without commas."""
    ids = pipe.tokenizer(text, add_special_tokens=False).input_ids
    made = [encode(pipe, pipe.tokenizer.decode(ids[i:i + 75])) for i in range(0, len(ids), 75)]
    return torch.cat(made, dim=1)


def pad(context, tokens):
    """So many tokens, by the last one's row."""
    return torch.cat([context, context[:, -1:].expand(-1, tokens - context.shape[1], -1)], dim=1)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description="Write the golden of AND.")
    parser.add_argument("--model", default=Path(__file__).parents[2] / "models" / "demo")
    pipe = StableDiffusionPipeline.from_pretrained(parser.parse_args().model, safety_checker=None)
    parts = [chunks(pipe, text) for text, _ in PARTS]
    assert [c.shape[1] for c in parts] == [77, 154]
    contexts = [pad(c, 154) for c in parts] + [encode(pipe, NEGATIVE)]
    timesteps, sigmas = uniform_schedule(pipe.scheduler, STEPS)
    outputs, kept = {}, {}
    watch(pipe.unet, outputs)
    x = noise_of(HEIGHT, WIDTH) * sigmas[0]
    for n in range(STEPS):
        scaled, rows, denoised = x / math.sqrt(sigmas[n].item() ** 2 + 1), [], []
        for context in contexts:
            denoised.append(x - sigmas[n] * pipe.unet(scaled, timesteps[n][None], context).sample)
            rows.append({name: outputs[name] for name in BLOCKS})
        uncond = denoised.pop()
        combined = uncond + sum(weight * CFG * (cond - uncond) for cond, (_, weight) in zip(denoised, PARTS))
        x = x + (x - combined) / sigmas[n] * (sigmas[n + 1] - sigmas[n])
        kept[f"step{n + 1}/latent"] = x
    kept |= {f"step{STEPS}/{name}": torch.cat([row[name] for row in rows]) for name in BLOCKS}
    save_file(kept, Path(__file__).parent / "goldens" / "and.safetensors")


if __name__ == "__main__":
    main()
