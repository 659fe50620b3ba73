"""Convert a Stable Diffusion 1 checkpoint from the diffusers layout to the original single-file (LDM) layout.

    python tools/ldm_from_diffusers.py FOLDER OUT.safetensors [--no-text-model]

Needs nothing but Python. The values and their types are kept. The LDM layout has no place for the number of attention heads
(readers take SD 1's 8), the prediction type or any other config, and puts two residual blocks on each of the U-Net's levels.
--no-text-model leaves out "text_model." in the text encoder's names, as some files have it.
"""
import argparse
import json
import re
import struct
from pathlib import Path

WIDTH = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}  # bytes of an element
LAYERS = 2  # residual blocks on each of the U-Net's downward levels

UNET_RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
               "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
VAE_RESNET = {"conv_shortcut": "nin_shortcut"}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
                 "query": "q", "key": "k", "value": "v", "proj_attn": "proj_out"}


def renamed(table, rest):
    """rest with its module's name looked up; the last dot parts it from weight or bias."""
    module, _, kind = rest.rpartition(".")
    return f"{table.get(module, module)}.{kind}"


def unet_name(name, up_attention):
    """up_attention: the upward levels that have attention, whose upsampler is then the third module of its block."""
    level_and_layer = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)", name)
    if level_and_layer:
        way, level, kind, layer, rest = level_and_layer.groups()
        block = int(level) * (LAYERS + 1) + int(layer) + (way == "down")
        side = "input_blocks" if way == "down" else "output_blocks"
        return f"{side}.{block}." + ("0." + renamed(UNET_RESNET, rest) if kind == "resnets" else "1." + rest)
    sampler = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(?:down|up)samplers\.0\.conv\.(.+)", name)
    if sampler:
        way, level, rest = sampler.groups()
        if way == "down":
            return f"input_blocks.{(int(level) + 1) * (LAYERS + 1)}.0.op.{rest}"
        return f"output_blocks.{int(level) * (LAYERS + 1) + LAYERS}.{2 if level in up_attention else 1}.conv.{rest}"
    middle = re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name)
    if middle:
        kind, index, rest = middle.groups()
        return "middle_block.1." + rest if kind == "attentions" else f"middle_block.{2 * int(index)}." + renamed(UNET_RESNET, rest)
    for ours, theirs in {"time_embedding.linear_1.": "time_embed.0.", "time_embedding.linear_2.": "time_embed.2.",
                         "conv_in.": "input_blocks.0.0.", "conv_norm_out.": "out.0.", "conv_out.": "out.2."}.items():
        if name.startswith(ours):
            return theirs + name[len(ours):]
    raise SystemExit(f"unet: no place in the LDM layout for {name}")


def vae_name(name, levels):
    block = re.fullmatch(r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.resnets\.(\d+)\.(.+)", name)
    if block:
        side, way, level, layer, rest = block.groups()
        level = int(level) if way == "down" else levels - 1 - int(level)
        return f"{side}.{way}.{level}.block.{layer}." + renamed(VAE_RESNET, rest)
    sampler = re.fullmatch(r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.((?:down|up)sample)rs\.0\.conv\.(.+)", name)
    if sampler:
        side, way, level, kind, rest = sampler.groups()
        level = int(level) if way == "down" else levels - 1 - int(level)
        return f"{side}.{way}.{level}.{kind}.conv.{rest}"
    middle = re.fullmatch(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d)\.(.+)", name)
    if middle:
        side, kind, index, rest = middle.groups()
        if kind == "attentions":
            return f"{side}.mid.attn_1." + renamed(VAE_ATTENTION, rest)
        return f"{side}.mid.block_{int(index) + 1}." + renamed(VAE_RESNET, rest)
    return name.replace("conv_norm_out.", "norm_out.")


def read_file(path):
    """{name: (dtype, shape, bytes)}: read as bytes, so that every type passes, BF16 too."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    start = 8 + length
    return {name: (info["dtype"], info["shape"], data[start + info["data_offsets"][0]:start + info["data_offsets"][1]])
            for name, info in header.items()}


def read_part(folder):
    for stem in ("diffusion_pytorch_model", "model"):
        for variant in ("", ".fp16"):
            if (folder / f"{stem}{variant}.safetensors").exists():
                return read_file(folder / f"{stem}{variant}.safetensors")
        index = folder / f"{stem}.safetensors.index.json"
        if index.exists():
            shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            return {name: value for shard in shards for name, value in read_file(folder / shard).items()}
    raise SystemExit(f"{folder}: no safetensors file")


def write_file(path, tensors):
    """Wide types first, so that every tensor is aligned."""
    header, offset = {}, 0
    names = sorted(tensors, key=lambda name: (-WIDTH.get(tensors[name][0], 1), name))
    for name in names:
        dtype, shape, data = tensors[name]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            file.write(tensors[name][2])


def convert(folder, text_model=True):
    folder = Path(folder)
    out = {}
    unet = read_part(folder / "unet")
    up_attention = {name.split(".")[1] for name in unet if re.match(r"up_blocks\.\d+\.attentions\.", name)}
    for name, value in unet.items():
        out["model.diffusion_model." + unet_name(name, up_attention)] = value
    vae = read_part(folder / "vae")
    levels = 1 + max(int(name.split(".")[2]) for name in vae if name.startswith("decoder.up_blocks."))
    for name, (dtype, shape, data) in vae.items():
        new = "first_stage_model." + vae_name(name, levels)
        if ".attn_1." in new and len(shape) == 2:
            shape = [*shape, 1, 1]  # a 1x1 convolution there
        out[new] = (dtype, shape, data)
    for name, value in read_part(folder / "text_encoder").items():
        plain = name.removeprefix("text_model.")
        out["cond_stage_model.transformer." + ("text_model." if text_model else "") + plain] = value
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--no-text-model", action="store_true")
    options = parser.parse_args()
    write_file(options.out, convert(options.folder, not options.no_text_model))


if __name__ == "__main__":
    main()
