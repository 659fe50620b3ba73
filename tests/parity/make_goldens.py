"""Write the golden tensors that the parity tests compare with.

Runs models/demo with diffusers in fp32 on the CPU, and samples as the webui
does with Euler and the "Uniform" schedule (k-diffusion, CFG 7). It writes into
goldens/ (all fp32):

    text.safetensors       cond, uncond: [77, width]
    clip-skip.safetensors  2, 3: cond with that clip skip, [77, width]
    HxW.safetensors        noise [1, 4, h, w]; timesteps and sigmas [steps, + 1];
                           image [3, H, W] in -1..1, and for step1, step2, ..
                           stepN/input   what the U-Net gets: scaled latent [1, 4, h, w]
                           stepN/BLOCK   output of an LDM block, rows cond, uncond
                           stepN/latent  the latent after the step

    attention-HxW.safetensors   of the same run, some blocks; positions are h x w
        tokens                  the columns kept of maps larger than 64 positions
        queries_px              [queries, 2]: x, y in the image
        SIDE/BLOCK/k            [heads, 77, head_dim]; SIDE is cond or uncond
        stepN/SIDE/BLOCK/qk     [heads, tokens, h, w]; with all 77 tokens, or those kept
        stepN/SIDE/BLOCK/vqk    [channels, h, w]: before the output projection
        stepN/cond/BLOCK/self-received, self-entropy   [heads, h, w]
        stepN/cond/BLOCK/self-queries                  [heads, queries, h, w]
        stepN/cond/BLOCK/self-map                      [heads, h * w, h * w], of IN05
        stepN/cond/BLOCK/self-pca                      [3, h, w]; each score of the
                                largest magnitude is positive
        stepN/cond/BLOCK/self-variances                [5]: of the first components
    layers.safetensors          two runs from the noise of 128x128, with and without
                                layer prompts (PROMPTS): a block sees its own prompt
        stepN/latent            [2, 4, h, w]: with, without
        stepN/BLOCK             [2, channels, h, w] with: rows cond, uncond
        stepN/BLOCK/diff        with minus without: the same rows
        stepN/norms             [25, 2, 5]: of every block's rows: l2, relative l2, max
                                and cosine of the difference, and largest magnitude with

HxW are height and width in pixels. Of the odd sizes only the last step's
blocks are kept, and only some.
"""
import argparse
import json
import math
import platform
from pathlib import Path

import attending
import diffusers
import layers
import torch
import transformers
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

PROMPT, NEGATIVE, CFG, SEED = "a red circle on a blue background", "blurry", 7.0, 1
SIZES = {(128, 128): 3, (192, 128): 2, (120, 136): 2}
SOME = ("IN00", "IN05", "IN09", "M00", "OUT02", "OUT05", "OUT08", "OUT11")
ATTENTION_STEPS = {(128, 128): (1, 3), (192, 128): (2,), (120, 136): (2,)}
CROSS = ("IN01", "IN05", "IN08", "M00", "OUT05", "OUT08", "OUT11")  # OUT05 and OUT08 attend before they are enlarged
SELF = ("IN01", "IN05")
TOKENS = (*range(10), 40, 76)
CLIP_SKIPS = (2, 3)  # the demo's text encoder has three layers
QUERIES_PX = ((75, 29), (8, 119))
HERE = Path(__file__).resolve().parent
VERSIONS = {"torch": str(torch.__version__), "diffusers": diffusers.__version__,
            "transformers": transformers.__version__, "python": platform.python_version()}


def block_modules(unet):
    """The module whose output is the block's, for all LDM blocks."""
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
    assert len(found) in (25, 19)  # SD 1 and 2, SDXL
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


def encode_skipping(pipe, text, skip):
    """The webui's clip skip: the skip-th last hidden state, then the final norm."""
    ids = pipe.tokenizer(text, padding="max_length", max_length=77, return_tensors="pt").input_ids
    clip = getattr(pipe.text_encoder, "text_model", pipe.text_encoder)  # newer transformers have one module less
    return clip.final_layer_norm(clip(ids, output_hidden_states=True).hidden_states[-skip])


def euler(unet, scheduler, noise, steps, context_of):
    """After each step yields its number, the U-Net's input, and the latent."""
    timesteps, sigmas = uniform_schedule(scheduler, steps)
    x = noise * sigmas[0]
    for n in range(steps):
        scaled = x / math.sqrt(sigmas[n].item() ** 2 + 1)
        eps = unet(scaled.expand(2, -1, -1, -1), timesteps[n].expand(2), context_of(n + 1)).sample
        cond, uncond = (x - sigmas[n] * e for e in eps[:, None])
        denoised = uncond + CFG * (cond - uncond)
        slope = (x - denoised) / sigmas[n]
        x = x + slope * (sigmas[n + 1] - sigmas[n])
        yield n + 1, scaled, x


def noise_of(height, width):
    return torch.randn(1, 4, height // 8, width // 8, generator=torch.Generator().manual_seed(SEED))


def sample(pipe, outputs, context, height, width, steps):
    """Sample one picture; returns the tensors of its golden file."""
    noise = noise_of(height, width)
    timesteps, sigmas = uniform_schedule(pipe.scheduler, steps)
    kept = {"noise": noise, "timesteps": timesteps, "sigmas": sigmas}
    for n, scaled, x in euler(pipe.unet, pipe.scheduler, noise, steps, lambda _: context):
        kept[f"step{n}/input"], kept[f"step{n}/latent"] = scaled, x
        whole = (height, width) == (128, 128)
        for name in outputs if whole else SOME if n == steps else ():
            kept[f"step{n}/{name}"] = outputs[name]
    kept["image"] = pipe.vae.decode(x / pipe.vae.config.scaling_factor).sample[0]
    return kept


def sample_attention(pipe, recorder, context, height, width, steps):
    """The same picture's attention."""
    kept = {"tokens": torch.tensor(TOKENS), "queries_px": torch.tensor(QUERIES_PX)}
    for n, _, _ in euler(pipe.unet, pipe.scheduler, noise_of(height, width), steps, lambda _: context):
        if n not in ATTENTION_STEPS[height, width]:
            continue
        for name in CROSS:
            size, cross = recorder.sizes[name], recorder.kept[name, "cross"]
            positions = size[0] * size[1]
            if n != steps and positions > 20:
                continue
            for row, side in enumerate(("cond", "uncond") if positions <= 20 else ("cond",)):
                maps = attending.cross_maps(cross, row, size, list(range(77)) if positions <= 64 else TOKENS)
                kept[f"{side}/{name}/k"] = cross["k"][row]
                kept.update({f"step{n}/{side}/{name}/{kind}": v for kind, v in maps.items()})
        for name in SELF if n == steps else ():
            size = recorder.sizes[name]
            positions = [(x * size[1] // width, y * size[0] // height) for x, y in QUERIES_PX]
            maps = attending.self_maps(recorder.kept[name, "self"]["probs"][0], size, positions, name == "IN05")
            kept.update({f"step{n}/cond/{name}/{kind}": v for kind, v in maps.items()})
    return kept


def sample_layers(pipe, recorder, outputs):
    """With layer prompts, and without: from the same noise."""
    kept, rows = {}, {}
    for variant in ("enabled", "erased"):
        encoded = {}

        def contexts(step, variant=variant, encoded=encoded):
            for name in attending.transformers(pipe.unet):
                texts = layers.PROMPTS[variant](name, step)
                for text in texts:
                    if text not in encoded:
                        encoded[text] = encode(pipe, text)
                recorder.contexts[name] = torch.cat([encoded[text] for text in texts])
            return torch.full_like(recorder.contexts["M00"], math.nan)  # no block may see this

        for n, _, x in euler(pipe.unet, pipe.scheduler, noise_of(128, 128), layers.STEPS, contexts):
            rows[variant, n] = dict(outputs), x
    recorder.contexts.clear()
    for n in range(1, layers.STEPS + 1):
        (enabled, with_x), (erased, without_x) = rows["enabled", n], rows["erased", n]
        kept[f"step{n}/latent"] = torch.cat([with_x, without_x])
        kept[f"step{n}/norms"] = torch.stack([layers.norms(enabled[name], erased[name]) for name in enabled])
        for name in layers.KEPT.get(n, ()):
            kept[f"step{n}/{name}"] = enabled[name]
            kept[f"step{n}/{name}/diff"] = enabled[name] - erased[name]
    return kept


def save(path, tensors, **more):
    save_file({k: v.float().contiguous().clone() for k, v in tensors.items()}, path,
              metadata={**VERSIONS, "prompt": PROMPT, "negative": NEGATIVE, **more})
    path.write_bytes(in_order(path.read_bytes()))
    path.chmod(0o644)


def in_order(file):
    """A .safetensors file whose metadata stand in a fixed order: save_file's changes from run to run."""
    size = int.from_bytes(file[:8], "little")
    header = json.loads(file[8:8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[8 + size:]


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=HERE.parents[1] / "models" / "demo")
    parser.add_argument("--out", type=Path, default=HERE / "goldens")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pipe = StableDiffusionPipeline.from_pretrained(args.model, torch_dtype=torch.float32)
    context = torch.cat([encode(pipe, PROMPT), encode(pipe, NEGATIVE)])
    save(args.out / "text.safetensors", {"cond": context[0], "uncond": context[1]})
    save(args.out / "clip-skip.safetensors", {f"{skip}": encode_skipping(pipe, PROMPT, skip)[0] for skip in CLIP_SKIPS})
    outputs = {}
    watch(pipe.unet, outputs)
    how = {"cfg": str(CFG), "seed": str(SEED), "sampler": "Euler", "schedule": "Uniform"}

    def keep(name, tensors):
        save(args.out / f"{name}.safetensors", tensors, **how)
        print(f"{name}: {len(tensors)} tensors")

    for (height, width), steps in SIZES.items():
        keep(f"{height}x{width}", sample(pipe, outputs, context, height, width, steps))
    recorder = attending.Recorder(pipe.unet)
    for (height, width), steps in SIZES.items():
        keep(f"attention-{height}x{width}", sample_attention(pipe, recorder, context, height, width, steps))
    keep("layers", sample_layers(pipe, recorder, outputs))


if __name__ == "__main__":
    main()
