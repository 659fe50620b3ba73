"""Small Stable Diffusion 2 and XL models with random weights, and recipes from which anybody makes the same ones.

A recipe (models/NAME.txt) is a text: `= PATH JSON` is a file of a config; any other line is a tensor,

    FILE NAME SHAPE SCALE OFFSET SOURCE [COUNT]

With a COUNT the line stands for that many, '#' in NAME and SOURCE being 0, 1, 2, ... A SOURCE of "." is FILE's folder, '/' and NAME.
A tensor's element i is

    offset + scale * u,  u = (mix((fnv1a(SOURCE) + i + 1) * 0x9E3779B97F4A7C15) >> 40) / 2^23 - 1

in float32, mix being splitmix64's; '@' in SOURCE joins what q, k and v give there, and a leading '^' turns the tensor over.
tests/unit/recipe.h reads the same text in C.
"""
import json
import re
import sys
from pathlib import Path

import numpy
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools"))
import ldm_from_diffusers  # noqa: E402

FILES = {"unet": "unet/diffusion_pytorch_model.safetensors", "vae": "vae/diffusion_pytorch_model.safetensors",
         "text_encoder": "text_encoder/model.safetensors", "text_encoder_2": "text_encoder_2/model.safetensors"}


def text_config(layers, activation, projection=64):
    return CLIPTextConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=layers, num_attention_heads=1, vocab_size=49408,
                          max_position_embeddings=77, hidden_act=activation, projection_dim=projection, bos_token_id=0, eos_token_id=2)


def vae(scale):
    return AutoencoderKL(block_out_channels=(32, 32, 32, 32), layers_per_block=1, latent_channels=4, scaling_factor=scale,
                         down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)


def sd2():
    """SD 2.1 in everything but widths and numbers of text layers."""
    unet = UNet2DConditionModel(
        sample_size=96, block_out_channels=(64, 64, 128, 128), layers_per_block=2, cross_attention_dim=64,
        attention_head_dim=[1, 1, 2, 2], use_linear_projection=True,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3)
    return {"unet": unet, "vae": vae(0.18215), "text_encoder": CLIPTextModel(text_config(4, "gelu"))}


def sdxl():
    """SDXL base likewise."""
    unet = UNet2DConditionModel(
        sample_size=128, block_out_channels=(32, 64, 128), layers_per_block=2, cross_attention_dim=128,
        attention_head_dim=[1, 1, 2], transformer_layers_per_block=[1, 2, 10], use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=6 * 256 + 96,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"))
    return {"unet": unet, "vae": vae(0.13025), "text_encoder": CLIPTextModel(text_config(3, "quick_gelu")),
            "text_encoder_2": CLIPTextModelWithProjection(text_config(3, "gelu", 96))}


SCHEDULER = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
MODELS = {"sd2": (sd2, {**SCHEDULER, "prediction_type": "v_prediction"}), "sdxl": (sdxl, {**SCHEDULER, "prediction_type": "epsilon"})}
CONFIG_KEYS = {"unet": ("attention_head_dim",), "vae": ("scaling_factor",), "text_encoder": ("num_attention_heads", "hidden_act"),
               "text_encoder_2": ("num_attention_heads", "hidden_act")}


def generate(source, shape, scale, offset):
    """The tensor of that name: see above."""
    seed = 0xCBF29CE484222325
    for byte in source.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with numpy.errstate(over="ignore"):
        x = (numpy.arange(int(numpy.prod(shape)), dtype=numpy.uint64) + numpy.uint64(seed) + numpy.uint64(1)) * numpy.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        x = x ^ (x >> numpy.uint64(31))
    u = (x >> numpy.uint64(40)).astype(numpy.float32) / numpy.float32(2**23) - numpy.float32(1)
    return torch.from_numpy((numpy.float32(offset) + numpy.float32(scale) * u).reshape(shape))


def spread(name, shape):
    """A scale and an offset that keep activations near 1 through all layers."""
    if "norm" in name:
        return (0.2, 1.0) if name.endswith("weight") else (0.1, 0.0)
    if name.endswith("bias"):
        return 0.1, 0.0
    if "embedding.weight" in name:
        return 1.0, 0.0
    return float(f"{(3 / numpy.prod(shape[1:])) ** 0.5:.4g}"), 0.0


def read_by_us(part, name):
    """The autoencoder's encoder is not; neither are position ids, which are no weights."""
    return not (part == "vae" and re.match(r"encoder\.|quant_conv\.", name)) and not name.endswith("position_ids")


def fill(parts):
    """Gives the models of {part: model} their weights. Returns {part: {name: (shape, scale, offset)}} of those that we read."""
    told = {}
    for part, model in parts.items():
        state = model.state_dict()
        for name, value in state.items():
            if value.is_floating_point():
                state[name] = generate(f"{part}/{name}", value.shape, *spread(name, value.shape))
        model.load_state_dict(state)
        model.eval()
        told[part] = {name: (list(value.shape), *spread(name, value.shape)) for name, value in state.items() if read_by_us(part, name)}
    return told


def line(file, name, shape, scale, offset, source):
    return f"{file} {name} {','.join(map(str, shape))} {scale} {offset} {source}"


def fold(lines):
    """Joins lines that differ in the number of a layer only, 0 and up, into one with a count."""
    number = re.compile(r"(transformer_blocks|layers|resblocks)\.(\d+)\.")
    groups = {}
    for text in lines:
        groups.setdefault(number.sub(r"\1.#.", text), []).append(text)
    for pattern, members in groups.items():
        wanted = [pattern.replace("#", str(i)) for i in range(len(members))]
        if "#" in pattern and sorted(wanted) == sorted(members):
            yield f"{pattern} {len(members)}"
        else:
            yield from members


def folder_recipe(parts, told, scheduler):
    for part, keys in CONFIG_KEYS.items():
        if part in parts:
            config = {key: getattr(parts[part].config, key) for key in keys}
            yield f"= {part}/config.json {json.dumps(config)}"
    yield f"= scheduler/scheduler_config.json {json.dumps(scheduler)}"
    yield from fold(line(FILES[part], name, *value, ".") for part, names in told.items() for name, value in names.items())


def ldm_plan(told, open_clip):
    return ldm_from_diffusers.plan({part: {name: value[0] for name, value in names.items()} for part, names in told.items()}, open_clip)


def ldm_tensor(how, shape, tensors):
    if how == "joined":
        return torch.cat(tensors)
    return tensors[0].T.contiguous() if how == "transposed" else tensors[0].reshape(*shape, 1, 1) if how == "as 1x1" else tensors[0]


def ldm_state(parts, told, open_clip):
    """The whole single file as a state dict."""
    states = {part: model.state_dict() for part, model in parts.items()}
    return {new: ldm_tensor(how, told[part][names[0]][0], [states[part][name] for name in names])
            for new, (how, part, names) in ldm_plan(told, open_clip).items()}


def unread_layer(plan, told):
    """What an original SD 2 file has and a folder has not: one more layer of the text encoder, whose weights are other ones."""
    layers = 1 + max(int(re.search(r"resblocks\.(\d+)\.", new).group(1)) for new in plan if "resblocks" in new)
    for new, (how, part, names) in plan.items():
        if part == "text_encoder" and ".resblocks.0." in new:
            yield (new.replace(".resblocks.0.", f".resblocks.{layers}."), how, told[part][names[0]],
                   "unread/" + names[0].replace(".q_proj.", ".@_proj.") if how == "joined" else f"unread/{names[0]}")


def ldm_recipe(told, open_clip):
    plan = ldm_plan(told, open_clip)

    def lines():
        for new, (how, part, names) in plan.items():
            source = f"{part}/{names[0]}".replace(".q_proj.", ".@_proj.") if how == "joined" else f"{part}/{names[0]}"
            yield one(new, how, told[part][names[0]], source)
        if open_clip:
            for more in unread_layer(plan, told):
                yield one(*more)

    def one(new, how, value, source):
        shape, scale, offset = value
        shape = {"joined": [3 * shape[0], *shape[1:]], "transposed": shape[::-1], "as 1x1": [*shape, 1, 1]}.get(how, shape)
        return line("model.safetensors", new, shape, scale, offset, ("^" if how == "transposed" else "") + source)

    return fold(lines())
