"""Write sd15_ldm_names.txt: every tensor name of SD 1.5, "diffusers name<TAB>LDM name", sorted.

The names come from the models that diffusers and transformers build (on the meta device, without values); the LDM names from
tools/ldm_from_diffusers.py, each checked by diffusers' own conversion of an original checkpoint, which must find its way back.
Made with diffusers 0.42.1, transformers 5.23.0, torch 2.15.0.
"""
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from transformers import CLIPTextConfig, CLIPTextModel

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))
from ldm_from_diffusers import unet_name, vae_name  # noqa: E402

UNET = dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8)  # the class's defaults are SD 1's otherwise
VAE = dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
           down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)
TEXT = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)


def names_of(model):
    return sorted(name.removeprefix("text_model.") for name in model.state_dict())


def check(ldm, back, what):
    """ldm: {LDM name: marker}, back: what diffusers' converter made of it. A marker tells which tensor it was."""
    wrong = [name for name, marker in back.items() if names_by_marker[int(marker.flatten()[0])] != name]
    assert not wrong and len(back) == len(ldm), (what, wrong[:5], len(back), len(ldm))


with torch.device("meta"):
    unet = names_of(UNet2DConditionModel(**UNET))
    vae = names_of(AutoencoderKL(**VAE))
    text = names_of(CLIPTextModel(CLIPTextConfig(**TEXT)))

names_by_marker = unet + vae
marker = {name: torch.full((1, 1, 1, 1), float(i), dtype=torch.float64) for i, name in enumerate(names_by_marker)}
attention = {name.split(".")[1] for name in unet if name.startswith("up_blocks.") and ".attentions." in name}
pairs = [(f"unet/{name}", "model.diffusion_model." + unet_name(name, attention)) for name in unet]
ldm = {new: marker[name[5:]] for name, new in pairs}
check(ldm, convert_ldm_unet_checkpoint(dict(ldm), dict(UNet2DConditionModel(**UNET).config)), "unet")

vae_pairs = [(f"vae/{name}", "first_stage_model." + vae_name(name, len(VAE["block_out_channels"]))) for name in vae]
ldm = {new: marker[name[4:]] for name, new in vae_pairs}
check(ldm, convert_ldm_vae_checkpoint(dict(ldm), dict(AutoencoderKL(**VAE).config)), "vae")

text_pairs = [(f"text_encoder/{name}", f"cond_stage_model.transformer.text_model.{name}") for name in text]
lines = sorted(f"{ours}\t{theirs}\n" for ours, theirs in pairs + vae_pairs + text_pairs)
(Path(__file__).parent / "sd15_ldm_names.txt").write_text("".join(lines))
print(len(unet), len(vae), len(text))
