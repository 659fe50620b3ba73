"""Write a full-size Stable Diffusion 2.1 or XL checkpoint of random half-precision weights, to see that the real sizes run.

    python make_full_size.py sd21|sdxl FOLDER

Needs 2.6 or 7 GB of disk and little memory. Weights repeat one block of random numbers, scaled so that activations stay near 1.
"""
import json
import math
import struct
import sys
from pathlib import Path

import numpy
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from family_models import CONFIG_KEYS, FILES, SCHEDULER, spread
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

UP_DOWN = {"down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3}
XL_UP_DOWN = {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
              "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")}


def text(width, layers, heads, activation, projection):
    return CLIPTextConfig(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
                          vocab_size=49408, hidden_act=activation, projection_dim=projection)


def vae(scale):
    return AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, scaling_factor=scale,
                         down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)


def sd21():
    unet = UNet2DConditionModel(block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=1024, attention_head_dim=[5, 10, 20, 20],
                                use_linear_projection=True, **UP_DOWN)
    return {"unet": unet, "vae": vae(0.18215), "text_encoder": CLIPTextModel(text(1024, 23, 16, "gelu", 512))}


def sdxl():
    unet = UNet2DConditionModel(block_out_channels=(320, 640, 1280), cross_attention_dim=2048, attention_head_dim=[5, 10, 20],
                                transformer_layers_per_block=[1, 2, 10], use_linear_projection=True, addition_embed_type="text_time",
                                addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816, **XL_UP_DOWN)
    return {"unet": unet, "vae": vae(0.13025), "text_encoder": CLIPTextModel(text(768, 12, 12, "quick_gelu", 768)),
            "text_encoder_2": CLIPTextModelWithProjection(text(1280, 32, 20, "gelu", 1280))}


def write(path, state):
    block = numpy.random.default_rng(0).uniform(-1, 1, 1 << 20).astype(numpy.float32)
    header, offset = {}, 0
    for name, value in state.items():
        size = 2 * value.numel()
        header[name] = {"dtype": "F16", "shape": list(value.shape), "data_offsets": [offset, offset + size]}
        offset += size
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(told)) + told)
        for name, value in state.items():
            scale, shift = spread(name, value.shape)
            scaled = (numpy.float32(shift) + numpy.float32(scale) * block).astype(numpy.float16)
            count = value.numel()
            for _ in range(math.ceil(count / len(scaled))):
                scaled[:count].tofile(file)
                count -= min(count, len(scaled))


def main():
    make, folder = {"sd21": (sd21, "v_prediction"), "sdxl": (sdxl, "epsilon")}[sys.argv[1]], Path(sys.argv[2])
    with torch.device("meta"):
        parts = make[0]()
    for part, model in parts.items():
        state = {name: value for name, value in model.state_dict().items() if not name.endswith("position_ids")}
        write(folder / FILES[part].replace(".safetensors", ".fp16.safetensors"), state)
        config = {key: getattr(model.config, key) for key in CONFIG_KEYS[part]}
        (folder / part / "config.json").write_text(json.dumps(config))
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({**SCHEDULER, "prediction_type": make[1]}))


if __name__ == "__main__":
    main()
