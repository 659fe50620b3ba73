"""Convert a Stable Diffusion 1, 2 or XL checkpoint from the diffusers layout to the original single-file (LDM) layout.

    python tools/ldm_from_diffusers.py FOLDER OUT.safetensors [--no-text-model] [--no-vae]

Needs nothing but Python. The values and their types are kept. The LDM layout has no place for the number of attention heads
(readers take SD 1's 8, and 64 channels a head in SD 2 and SDXL), the prediction type or any other config, and puts two residual
blocks on each of the U-Net's levels. SD 2's text encoder lacks its last layer in the diffusers layout, and so here.
--no-text-model leaves out "text_model." in CLIP's names, as some files have it; --no-vae the autoencoder.
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
OPEN_CLIP_LAYER = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc",
                   "mlp.fc2": "mlp.c_proj"}
OPEN_CLIP = {"embeddings.token_embedding.weight": "token_embedding.weight",
             "embeddings.position_embedding.weight": "positional_embedding", "text_projection.weight": "text_projection",
             "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias"}
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
                         "add_embedding.linear_1.": "label_emb.0.0.", "add_embedding.linear_2.": "label_emb.0.2.",
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


def open_clip_name(name):
    """transformers' names to OpenCLIP's; None for K and V, which go with Q."""
    layer = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if not layer:
        return OPEN_CLIP.get(name, name)
    index, module, kind = layer.groups()
    if module in ("self_attn.k_proj", "self_attn.v_proj"):
        return None
    if module == "self_attn.q_proj":
        return f"transformer.resblocks.{index}.attn.in_proj_{kind}"
    return f"transformer.resblocks.{index}.{OPEN_CLIP_LAYER[module]}.{kind}"


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


def plan_unet(shapes):
    up_attention = {name.split(".")[1] for name in shapes if re.match(r"up_blocks\.\d+\.attentions\.", name)}
    return {"model.diffusion_model." + unet_name(name, up_attention): ("as is", [name]) for name in shapes}


def plan_vae(shapes):
    levels = 1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("decoder.up_blocks."))
    names = {name: "first_stage_model." + vae_name(name, levels) for name in shapes}
    return {new: ("as 1x1" if ".attn_1." in new and len(shapes[name]) == 2 else "as is", [name]) for name, new in names.items()}


def plan_clip(shapes, prefix, text_model):
    return {prefix + ("text_model." if text_model else "") + name.removeprefix("text_model."): ("as is", [name]) for name in shapes}


def plan_open_clip(shapes, prefix):
    found = {}
    for name in shapes:
        new = open_clip_name(name.removeprefix("text_model."))
        if new is None or new.endswith("position_ids"):
            continue
        if ".in_proj_" in new:
            found[prefix + new] = ("joined", [name.replace("q_proj", letter + "_proj") for letter in "qkv"])
        else:
            found[prefix + new] = ("transposed" if new == "text_projection" else "as is", [name])
    return found


def plan(shapes, open_clip, text_model=True):
    """{name in the LDM layout: (how, part, names there)}. shapes: {part: {name: shape}}; open_clip: whether text_encoder is one."""
    xl = "text_encoder_2" in shapes
    found = {"unet": plan_unet(shapes["unet"])}
    if "vae" in shapes:
        found["vae"] = plan_vae(shapes["vae"])
    if open_clip:
        found["text_encoder"] = plan_open_clip(shapes["text_encoder"], "cond_stage_model.model.")
    else:
        prefix = "conditioner.embedders.0.transformer." if xl else "cond_stage_model.transformer."
        found["text_encoder"] = plan_clip(shapes["text_encoder"], prefix, text_model or xl)
    if xl:
        found["text_encoder_2"] = plan_open_clip(shapes["text_encoder_2"], "conditioner.embedders.1.model.")
    return {new: (how, part, names) for part, all_names in found.items() for new, (how, names) in all_names.items()}


def transposed(data, rows, columns, width):
    """[rows, columns] elements of width bytes, turned over."""
    values = memoryview(data).cast({2: "H", 4: "I", 8: "Q"}[width])
    return b"".join(bytes(values[column::columns]) for column in range(columns))


def carry_out(how, sources):
    """sources: [(dtype, shape, bytes)]; the one tensor that comes of them."""
    dtype, shape, data = sources[0]
    if how == "joined":
        return dtype, [3 * shape[0], *shape[1:]], b"".join(source[2] for source in sources)
    if how == "transposed":
        return dtype, shape[::-1], transposed(data, *shape, WIDTH[dtype])
    return dtype, [*shape, 1, 1] if how == "as 1x1" else shape, data


def convert(folder, text_model=True, vae=True):
    folder = Path(folder)
    wanted = ["unet", "text_encoder"] + ["vae"] * vae + ["text_encoder_2"] * (folder / "text_encoder_2").exists()
    parts = {part: read_part(folder / part) for part in wanted}
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    shapes = {part: {name: value[1] for name, value in tensors.items()} for part, tensors in parts.items()}
    planned = plan(shapes, config.get("hidden_act") == "gelu", text_model)
    return {new: carry_out(how, [parts[part][name] for name in names]) for new, (how, part, names) in planned.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--no-text-model", action="store_true")
    parser.add_argument("--no-vae", action="store_true")
    options = parser.parse_args()
    write_file(options.out, convert(options.folder, not options.no_text_model, not options.no_vae))


if __name__ == "__main__":
    main()
