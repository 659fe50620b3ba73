"""Write recipes of small SD 2 and SDXL models (models/) and what diffusers computes with them (goldens/).

    NAME.safetensors    cond, uncond [77, width] and, for SDXL, pooled/cond, pooled/uncond [width]: from the pipeline's encode_prompt
                        noise [1, 4, h, w]; image [3, H, W] in -1..1; stepN/latent [1, 4, h, w] after each step
                        stepN/BLOCK of the last step: the output of a block, rows cond, uncond
                        attention/BLOCK-dN of the last step: of the cond row, softmax(Q K^T / sqrt(d)) of the cross-attention in
                        the transformer's layer N, [heads, 77, h, w]
                        for SD 2, drop [1]: mean(unet(x, 999, c) - x) where x and c are 0.5
                        for SDXL, empty/latent [1, 4, h, w]: the last latent where the negative prompt is "", which the webui makes zeros;
                        layers/latent, layers/BLOCK: the same where the blocks of LAYERS see LAYER_PROMPT, in their attention and, by its
                        pooled vector, in their residual blocks

Sampling is the webui's Euler with the "Uniform" schedule, CFG 7; SD 2 predicts v (k-diffusion's CompVisVDenoiser).
Also checks the single-file layout: diffusers' own conversion (diffusers.loaders.single_file_utils) must find, under the names
that we give, every weight of the model, for these models and for SD 1 (models/demo).
"""
import math

import family_models
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.loaders import single_file_utils
from make_goldens import CFG, HERE, NEGATIVE, PROMPT, save, uniform_schedule, watch
from transformers import CLIPTokenizer

ATTENTION = {"sd2": (("IN08", 0, 2),), "sdxl": (("IN04", 1, 1), ("M00", 9, 2), ("OUT00", 4, 2))}  # block, layer, heads
LAYERS, LAYER_PROMPT, LAYERS_KEPT = ("IN01", "IN04", "M00", "OUT03", "OUT08"), PROMPT + ", cute", ("IN05", "M00", "OUT08")
HEIGHT, WIDTH, STEPS, SEED = 40, 64, 2, 3
DEMO = HERE.parents[1] / "models" / "demo"


def make_pipe(parts, scheduler):
    tokenizer = CLIPTokenizer.from_pretrained(DEMO / "tokenizer")
    padded_with_0 = CLIPTokenizer.from_pretrained(DEMO / "tokenizer", pad_token="!")
    scheduler = EulerDiscreteScheduler(**scheduler)
    if "text_encoder_2" in parts:
        return StableDiffusionXLPipeline(**parts, tokenizer=tokenizer, tokenizer_2=padded_with_0, scheduler=scheduler)
    return StableDiffusionPipeline(**parts, tokenizer=padded_with_0, scheduler=scheduler, safety_checker=None, feature_extractor=None,
                                   requires_safety_checker=False)


def encode(pipe, prompt=PROMPT, negative=NEGATIVE):
    """context [2, 77, width], and what else the U-Net gets, {} but for SDXL."""
    if not hasattr(pipe, "text_encoder_2"):
        return torch.cat(pipe.encode_prompt(prompt, "cpu", 1, True, negative_prompt=negative)), {}
    cond, uncond, pooled, pooled_uncond = pipe.encode_prompt(prompt, device="cpu", do_classifier_free_guidance=True,
                                                            negative_prompt=negative)
    sizes = torch.tensor([[HEIGHT, WIDTH, 0, 0, HEIGHT, WIDTH]] * 2, dtype=torch.float32)
    return torch.cat([cond, uncond]), {"text_embeds": torch.cat([pooled, pooled_uncond]), "time_ids": sizes}


def denoise(output, x, sigma, prediction):
    if prediction == "v_prediction":
        return output * (-sigma / math.sqrt(sigma**2 + 1)) + x / (sigma**2 + 1)
    return x - sigma * output


def watch_attention(unet, wanted, found):
    """Lets every forward pass put the maps of `wanted` into `found`."""
    products = {}
    for block, layer, heads in wanted:
        transformer = [module for module in parts_of(unet)[block] if hasattr(module, "transformer_blocks")][0]
        attention = transformer.transformer_blocks[layer].attn2

        def keep(_module, _inputs, output, key):
            products[key] = output[0]

        def look(_module, _inputs, _output, key, heads=heads):
            q, k = (products[key, letter].unflatten(-1, (heads, -1)).transpose(0, 1) for letter in "qk")
            found[key] = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1).transpose(1, 2)

        key = f"attention/{block}-d{layer}"
        for letter, module in (("q", attention.to_q), ("k", attention.to_k)):
            module.register_forward_hook(lambda m, i, o, k=(key, letter): keep(m, i, o, k))
        attention.register_forward_hook(lambda m, i, o, k=key, look=look: look(m, i, o, k))
    return found


def sample(pipe, context, added, prediction):
    outputs, kept = {}, {}
    watch(pipe.unet, outputs)
    timesteps, sigmas = uniform_schedule(pipe.scheduler, STEPS)
    kept["noise"] = torch.randn(1, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(SEED))
    x = kept["noise"] * sigmas[0]
    for n in range(STEPS):
        sigma = sigmas[n].item()
        scaled = (x / math.sqrt(sigma**2 + 1)).expand(2, -1, -1, -1)
        output = pipe.unet(scaled, timesteps[n].expand(2), context, added_cond_kwargs=added).sample
        cond, uncond = (denoise(row, x, sigma, prediction) for row in output[:, None])
        x = x + (x - (uncond + CFG * (cond - uncond))) / sigma * (sigmas[n + 1] - sigmas[n])
        kept[f"step{n + 1}/latent"] = x
    kept.update({f"step{STEPS}/{name}": value for name, value in outputs.items()})
    kept["image"] = pipe.vae.decode(x / pipe.vae.config.scaling_factor).sample[0]
    return kept


def parts_of(unet):
    """The residual blocks and transformers of every block."""
    found, number = {}, 1
    for block in unet.down_blocks:
        for resnet, attention in zip(block.resnets, getattr(block, "attentions", [None] * 9)):
            found[f"IN{number:02}"] = [resnet, attention]
            number += 1
        number += block.downsamplers is not None
    found["M00"] = [*unet.mid_block.resnets, *unet.mid_block.attentions]
    number = 0
    for block in unet.up_blocks:
        for resnet, attention in zip(block.resnets, getattr(block, "attentions", [None] * 9)):
            found[f"OUT{number:02}"] = [resnet, attention]
            number += 1
    return found


def sample_layers(pipe, context, added, prediction):
    """LAYERS see another prompt than the rest."""
    other, other_added = encode(pipe, LAYER_PROMPT)
    embed = pipe.unet.get_aug_embed
    shift = embed(torch.zeros(1), other, other_added) - embed(torch.zeros(1), context, added)

    def see(module, args, kwargs):
        if "Transformer" in type(module).__name__:
            kwargs["encoder_hidden_states"] = other
            return args, kwargs
        return (args[0], args[1] + shift, *args[2:]), kwargs

    hooks = [module.register_forward_pre_hook(see, with_kwargs=True)
             for name in LAYERS for module in parts_of(pipe.unet)[name] if module is not None]
    kept = sample(pipe, context, added, prediction)
    for hook in hooks:
        hook.remove()
    return {"layers/latent": kept[f"step{STEPS}/latent"], **{f"layers/{name}": kept[f"step{STEPS}/{name}"] for name in LAYERS_KEPT}}


def sample_empty(pipe, prediction):
    """force_zeros_for_empty_prompt is diffusers' word for it."""
    assert pipe.config.force_zeros_for_empty_prompt
    context, added = encode(pipe, negative=None)
    assert not context[1].any() and not added["text_embeds"][1].any()
    return {"empty/latent": sample(pipe, context, added, prediction)[f"step{STEPS}/latent"]}


def measure_drop(unet):
    x = torch.full((1, 4, 8, 8), 0.5)
    return {"drop": (unet(x, torch.tensor([999.0]), torch.full((1, 2, 64), 0.5)).sample - x).mean()[None]}


def same(found, expected, what):
    for name, value in expected.items():
        assert name in found, f"{what}: diffusers does not find {name}"
        assert torch.equal(found[name].reshape(value.shape), value), f"{what}: {name} differs"


def check_layout(parts, told, open_clip):
    """diffusers' conversion of our single file gives back every weight."""
    file = family_models.ldm_state(parts, told, open_clip)
    expected = {part: {name: value for name, value in model.state_dict().items() if name in told[part]} for part, model in parts.items()}
    same(single_file_utils.convert_ldm_unet_checkpoint(dict(file), parts["unet"].config), expected["unet"], "unet")
    same(single_file_utils.convert_ldm_vae_checkpoint(dict(file), parts["vae"].config), expected["vae"], "vae")
    if open_clip:
        text = single_file_utils.convert_open_clip_checkpoint(parts["text_encoder"], dict(file), prefix="cond_stage_model.model.")
    else:
        text = single_file_utils.convert_ldm_clip_checkpoint(dict(file))
    plain = {name.removeprefix("text_model."): value for name, value in text.items()}
    same(plain, {name.removeprefix("text_model."): value for name, value in expected["text_encoder"].items()}, "text encoder")
    if "text_encoder_2" in parts:
        text = single_file_utils.convert_open_clip_checkpoint(parts["text_encoder_2"], dict(file), prefix="conditioner.embedders.1.model.")
        plain = {name.removeprefix("text_model."): value for name, value in text.items()}
        same(plain, {name.removeprefix("text_model."): value for name, value in expected["text_encoder_2"].items()}, "text encoder 2")
    return len(file)


def check_demo():
    pipe = StableDiffusionPipeline.from_pretrained(DEMO, torch_dtype=torch.float32)
    parts = {"unet": pipe.unet, "vae": pipe.vae, "text_encoder": pipe.text_encoder}
    told = {part: {name: (list(value.shape), 0, 0) for name, value in model.state_dict().items() if not name.endswith("position_ids")}
            for part, model in parts.items()}
    return check_layout(parts, told, False)


@torch.no_grad()
def main():
    print(f"SD 1: diffusers finds all {check_demo()} tensors of the single file")
    (HERE / "models").mkdir(exist_ok=True)
    for name, (make, scheduler) in family_models.MODELS.items():
        parts = make()
        told = family_models.fill(parts)
        open_clip = name == "sd2"
        print(f"{name}: diffusers finds all {check_layout(parts, told, open_clip)} tensors of the single file")
        for suffix, lines in {"": family_models.folder_recipe(parts, told, scheduler), "-ldm": family_models.ldm_recipe(told, open_clip)}.items():
            (HERE / "models" / f"{name}{suffix}.txt").write_text("\n".join(lines) + "\n")
        pipe = make_pipe(parts, scheduler)
        context, added = encode(pipe)
        maps = watch_attention(pipe.unet, ATTENTION[name], {})
        kept = sample(pipe, context, added, scheduler["prediction_type"])
        kept.update({key: value.clone() for key, value in maps.items()})
        kept.update({"cond": context[0], "uncond": context[1]})
        prediction = scheduler["prediction_type"]
        kept.update({**sample_empty(pipe, prediction), **sample_layers(pipe, context, added, prediction)} if added else
                    measure_drop(pipe.unet))
        if added:
            kept.update({"pooled/cond": added["text_embeds"][0], "pooled/uncond": added["text_embeds"][1]})
        save(HERE / "goldens" / f"{name}.safetensors", kept, cfg=str(CFG), sampler="Euler", schedule="Uniform")
        print(f"{name}: {len(kept)} tensors; image {kept['image'].min():.3g} to {kept['image'].max():.3g}")


if __name__ == "__main__":
    main()
