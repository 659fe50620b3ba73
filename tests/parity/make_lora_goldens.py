"""Write LoRA files for models/demo, and what it samples with them (goldens/lora*.safetensors).

    lora-kohya    attention and feed-forward of the U-Net and the text encoder; alpha
    lora-peft     what diffusers itself saves: PEFT's names, alpha in the metadata
    lora-locon    the original code's names; 3x3 convolutions, with and without mid
    lora-old      diffusers before PEFT: attn.processor.to_q_lora.down.weight

    lora.safetensors, for each case of CASES:
        CASE/cond     the prompt's encoding [77, width]
        CASE/latent   [1, 4, h, w] after STEPS steps from the noise of 128x128
    and none/cond, none/latent without any.

"kohya", "peft" and "old" are loaded and fused by diffusers with PEFT; the others
are merged here, in float64. All have values large enough to change the picture.
"""
import argparse
import re
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from make_goldens import NEGATIVE, PROMPT, SIZES, encode, euler, noise_of

HERE = Path(__file__).parent / "goldens"
HEIGHT, WIDTH, STEPS = 128, 128, SIZES[128, 128]
CASES = ("kohya", "peft", "locon", "old", "blocks", "both")


def random(generator, *shape, scale):
    return torch.randn(*shape, generator=generator) * scale


def pair(generator, weight, rank, like_conv=False):
    """down and up whose product is small beside the weight; a convolution's down has its kernel."""
    out, columns = weight.shape[0], weight[0].numel()
    size = (weight.std() * 0.2 / rank ** 0.5).sqrt()
    down = random(generator, rank, columns, scale=size).reshape(rank, *weight.shape[1:])
    up = random(generator, out, rank, scale=size)
    return down, up[:, :, None, None] if like_conv else up


def flat(name):
    return name.replace(".", "_")


def make_kohya(pipe, generator):
    tensors = {}
    wanted = r"(attn[12]\.(to_[qkv]|to_out\.0)|ff\.net\.(0\.proj|2)|proj_(in|out))$"
    layers = [(f"lora_unet_{flat(n)}", m) for n, m in pipe.unet.named_modules() if re.search(wanted, n)]
    layers += [(f"lora_te_{'' if n.startswith('text_model') else 'text_model_'}{flat(n)}", m)
               for n, m in pipe.text_encoder.named_modules() if re.search(r"(_proj|fc[12])$", n)]
    for name, module in layers:
        down, up = pair(generator, module.weight, 2, module.weight.dim() == 4)
        tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"] = down, up
        tensors[f"{name}.alpha"] = torch.tensor(1.0)  # one for all: diffusers 0.42 loses others
    return {name: tensor.half().contiguous() for name, tensor in tensors.items()}


def make_peft(pipe, generator):
    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    pipe.unet.add_adapter(LoraConfig(r=2, lora_alpha=3, target_modules=targets, alpha_pattern={"attn2.to_k": 5}))
    for name, value in pipe.unet.named_parameters():
        if "lora_" in name:
            value.data = random(generator, *value.shape, scale=0.06)
    metadata = _collate_lora_metadata({"unet": pipe.unet})
    pipe.save_lora_weights(HERE, get_peft_model_state_dict(pipe.unet), weight_name="lora-peft.safetensors", **metadata)
    pipe.unet.delete_adapters("default")


def make_old(pipe, generator):
    tensors = {}
    for name, module in pipe.unet.named_modules():
        found = re.search(r"(.*attn2)\.(to_[qkv]|to_out)(\.0)?$", name)
        if found and hasattr(module, "weight"):
            down, up = pair(generator, module.weight, 1)
            stem = f"unet.{found[1]}.processor.{found[2]}_lora"
            tensors[f"{stem}.down.weight"], tensors[f"{stem}.up.weight"] = down, up
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


# Layers by the names of the original code, and of diffusers.
LOCON = {
    "input_blocks_0_0": "conv_in", "input_blocks_1_0_in_layers_2": "down_blocks.0.resnets.0.conv1",
    "input_blocks_3_0_op": "down_blocks.0.downsamplers.0.conv", "input_blocks_4_0_skip_connection": "down_blocks.1.resnets.0.conv_shortcut",
    "input_blocks_4_1_transformer_blocks_0_attn2_to_k": "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",
    "input_blocks_8_1_proj_in": "down_blocks.2.attentions.1.proj_in",
    "middle_block_0_out_layers_3": "mid_block.resnets.0.conv2", "middle_block_1_proj_out": "mid_block.attentions.0.proj_out",
    "output_blocks_2_1_conv": "up_blocks.0.upsamplers.0.conv", "output_blocks_5_2_conv": "up_blocks.1.upsamplers.0.conv",
    "output_blocks_7_0_emb_layers_1": "up_blocks.2.resnets.1.time_emb_proj",
    "output_blocks_11_1_transformer_blocks_0_ff_net_0_proj": "up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj",
    "time_embed_0": "time_embedding.linear_1", "out_2": "conv_out",
}


def make_locon(pipe, generator):
    tensors = {}
    for i, (theirs, ours) in enumerate(LOCON.items()):
        weight, stem = pipe.unet.get_submodule(ours).weight, f"lora_unet_{theirs}"
        rank = 3
        down, up = pair(generator, weight, rank, weight.dim() == 4)
        if weight.dim() == 4 and weight.shape[2] == 3 and i % 2:  # Tucker: down for the channels, mid for the kernel
            down = down[:, :, :1, :1] * 3
            tensors[f"{stem}.lora_mid.weight"] = random(generator, rank, rank, 3, 3, scale=0.5)
        tensors[f"{stem}.lora_down.weight"], tensors[f"{stem}.lora_up.weight"] = down, up
        if i % 5:  # without alpha it is the rank
            tensors[f"{stem}.alpha"] = torch.tensor(1.0 + i % 3)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def delta(tensors, stem, weight):
    down, up = (tensors[f"{stem}.lora_{kind}.weight"].double() for kind in ("down", "up"))
    rank, up = len(down), up.reshape(len(up), -1)
    mid = tensors.get(f"{stem}.lora_mid.weight")
    if mid is None:
        made = up @ down.reshape(rank, -1)
    else:
        made = torch.einsum("nmkl,in,mj->ijkl", mid.double(), up, down.reshape(rank, -1))
    return tensors.get(f"{stem}.alpha", torch.tensor(float(rank))).double() / rank * made.reshape(weight.shape)


def merge(pipe, tensors, factor_of):
    """Add the file's differences, in float64; factor_of tells a module's weight by its part and name."""
    for stem in sorted({name.split(".")[0] for name in tensors}):
        if stem.startswith("lora_te_"):
            part, module = "te", next(m for n, m in pipe.text_encoder.named_modules()
                                      if flat(n).removeprefix("text_model_") == stem[8:].removeprefix("text_model_"))
            name = ""
        else:
            name = LOCON.get(stem[10:]) or next(n for n, _ in pipe.unet.named_modules() if flat(n) == stem[10:])
            part, module = "unet", pipe.unet.get_submodule(name)
        merged = module.weight.double() + factor_of(part, name) * delta(tensors, stem, module.weight)
        module.weight.data = merged.float()


def block_weights(part, name):
    """0.8, IN04=0.5, OUT00-OUT08=0, TE=0.25"""
    if part == "te":
        return 0.8 * 0.25
    if name.startswith(("down_blocks.1.resnets.0", "down_blocks.1.attentions.0")):
        return 0.8 * 0.5
    return 0 if name.startswith(("up_blocks.0", "up_blocks.1", "up_blocks.2")) else 0.8


def sample(pipe):
    cond, uncond = encode(pipe, PROMPT), encode(pipe, NEGATIVE)
    context = torch.cat([cond, uncond])
    latents = [x for _, _, x in euler(pipe.unet, pipe.scheduler, noise_of(HEIGHT, WIDTH), STEPS, lambda _: context)]
    return {"cond": cond[0], "latent": latents[-1]}


def fused(pipe, file, weight):
    pipe.load_lora_weights(HERE, weight_name=file)
    pipe.fuse_lora(lora_scale=weight)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description="Write the goldens of LoRA.")
    parser.add_argument("--model", default=Path(__file__).parents[2] / "models" / "demo")
    model, generator = parser.parse_args().model, torch.Generator().manual_seed(6)

    def fresh():
        return StableDiffusionPipeline.from_pretrained(model, safety_checker=None)

    save_file(make_kohya(fresh(), generator), HERE / "lora-kohya.safetensors")
    make_peft(fresh(), generator)
    save_file(make_old(fresh(), generator), HERE / "lora-old.safetensors")
    save_file(make_locon(fresh(), generator), HERE / "lora-locon.safetensors")
    kohya, locon = (load_file(HERE / f"lora-{name}.safetensors") for name in ("kohya", "locon"))
    ways = {
        "none": lambda pipe: None,
        "kohya": lambda pipe: fused(pipe, "lora-kohya.safetensors", 0.8),
        "peft": lambda pipe: fused(pipe, "lora-peft.safetensors", 1),
        "old": lambda pipe: fused(pipe, "lora-old.safetensors", 1.25),
        "locon": lambda pipe: merge(pipe, locon, lambda part, name: 0.7),
        "blocks": lambda pipe: merge(pipe, kohya, block_weights),
        "both": lambda pipe: (merge(pipe, kohya, lambda part, name: -0.5), merge(pipe, locon, lambda part, name: 1)),
    }
    kept = {}
    for case, way in ways.items():
        pipe = fresh()
        way(pipe)
        made = sample(pipe)
        kept |= {f"{case}/{name}": tensor.contiguous() for name, tensor in made.items()}
        change = (made["latent"] - kept["none/latent"]).abs().max() / kept["none/latent"].abs().max()
        print(f"{case}: the latent changes by {change:.3f}")
        assert case == "none" or 0.02 < change < 1
    save_file(kept, HERE / "lora.safetensors")


if __name__ == "__main__":
    main()
