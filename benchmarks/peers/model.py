"""A diffusers folder of SD 1.5's shape as PyTorch modules. What its configs leave out is read from the tensors' shapes."""
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel


def config_of(folder, part):
    return json.loads((Path(folder) / part / "config.json").read_text())


def filled(model, weights, dtype):
    missing, unexpected = model.load_state_dict({k: v.to(dtype) for k, v in weights.items()}, strict=False, assign=True)
    missing = [name for name in missing if not name.endswith("position_ids")]
    assert not missing and not unexpected, (missing[:3], unexpected[:3])
    return model.eval().requires_grad_(False)


def unet(folder, dtype):
    weights = load_file(Path(folder) / "unet/diffusion_pytorch_model.safetensors")
    given = config_of(folder, "unet")
    widths = [weights[f"down_blocks.{i}.resnets.0.conv1.weight"].shape[0] for i in range(4)]
    context = weights["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"].shape[1]
    with torch.device("meta"):
        model = UNet2DConditionModel(block_out_channels=widths, cross_attention_dim=context, attention_head_dim=given["attention_head_dim"],
                                     norm_num_groups=given["norm_num_groups"])
    return filled(model, weights, dtype)


def vae(folder, dtype):
    weights = load_file(Path(folder) / "vae/diffusion_pytorch_model.safetensors")
    given = config_of(folder, "vae")
    widths = [weights[f"decoder.up_blocks.{3 - i}.resnets.0.conv1.weight"].shape[0] for i in range(4)]
    with torch.device("meta"):
        model = AutoencoderKL(block_out_channels=widths, down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
                              layers_per_block=2, latent_channels=4, norm_num_groups=given["norm_num_groups"])
    decoder = {k: v for k, v in weights.items() if k.startswith(("decoder.", "post_quant_conv."))}
    model.encoder = model.quant_conv = None  # a picture is decoded only
    return filled(model, decoder, dtype)


def text(folder, dtype):
    weights = load_file(Path(folder) / "text_encoder/model.safetensors")
    if not any(name.startswith("text_model.") for name in CLIPTextModel(CLIPTextConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=1,
                                                                                     intermediate_size=8)).state_dict()):
        weights = {name.removeprefix("text_model."): value for name, value in weights.items()}
    else:
        weights = {"text_model." + name.removeprefix("text_model."): value for name, value in weights.items()}
    width = weights[next(n for n in weights if n.endswith("token_embedding.weight"))].shape[1]
    layers = len({name.split("layers.")[1].split(".")[0] for name in weights if "layers." in name})
    config = CLIPTextConfig(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
                            num_attention_heads=config_of(folder, "text_encoder")["num_attention_heads"], hidden_act="quick_gelu", eos_token_id=49407)
    model = CLIPTextModel(config)  # not on meta: the buffer of positions is not in the file
    weights = {name: value for name, value in weights.items() if not name.endswith("position_ids")}
    return filled(model, weights, dtype)


class Decoder(torch.nn.Module):
    """What a peer that converts modules takes: the latent as the sampler leaves it, in; values in -1..1, out."""

    def __init__(self, autoencoder):
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, latent):
        return self.autoencoder.decode(latent / 0.18215, return_dict=False)[0]


class Denoiser(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, latent, timestep, context):
        return self.model(latent, timestep, context, return_dict=False)[0]


class Encoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(ids)[0]
