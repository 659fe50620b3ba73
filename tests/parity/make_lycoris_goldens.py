"""Write a file with every kind of difference that LyCORIS trains, and what it makes of models/demo's weights (goldens/lycoris*.safetensors).

    lycoris          a layer of the U-Net for each of CASES, in kohya's names
    lycoris-merged   "CASE.weight", "CASE.bias": the layer with it, as LyCORIS' own forward has it, at weight 1

The layer's canonical name is in the metadata, under the case's name. Needs torch and lycoris-lora (4.1.3).
"""
from pathlib import Path

import torch
from lycoris.modules.full import FullModule
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "goldens"
LINEAR = "down_blocks.{}.attentions.{}.transformer_blocks.0.{}"
CONV = "down_blocks.{}.resnets.{}.{}"
CASES = {
    "loha": (LohaModule, LINEAR.format(0, 0, "attn2.to_k"), {}),
    "loha-conv": (LohaModule, CONV.format(0, 0, "conv1"), {}),
    "loha-tucker": (LohaModule, CONV.format(0, 0, "conv2"), {"use_tucker": True}),
    "lokr-whole": (LokrModule, LINEAR.format(0, 0, "attn2.to_v"), {"full_matrix": True}),
    "lokr": (LokrModule, LINEAR.format(0, 0, "ff.net.0.proj"), {"lora_dim": 2}),
    "lokr-both": (LokrModule, LINEAR.format(0, 0, "ff.net.2"), {"lora_dim": 2, "decompose_both": True, "factor": 8}),
    "lokr-conv": (LokrModule, CONV.format(0, 1, "conv1"), {"lora_dim": 2, "factor": 4}),
    "lokr-tucker": (LokrModule, CONV.format(0, 1, "conv2"), {"lora_dim": 2, "factor": 4, "use_tucker": True}),
    "full": (FullModule, LINEAR.format(0, 1, "attn1.to_out.0"), {}),
    "norm": (NormModule, CONV.format(0, 0, "norm1"), {}),
    "dora": (LoConModule, LINEAR.format(0, 1, "attn2.to_k"), {"weight_decompose": True}),
    "dora-inputs": (LoConModule, LINEAR.format(0, 1, "attn2.to_v"), {"weight_decompose": True, "wd_on_out": False}),
    "dora-square": (LoConModule, LINEAR.format(0, 1, "attn1.to_q"), {"weight_decompose": True, "wd_on_out": False}),
    "dora-conv": (LohaModule, CONV.format(1, 0, "conv1"), {"weight_decompose": True}),
    "dora-conv-inputs": (LokrModule, CONV.format(1, 0, "conv2"), {"lora_dim": 2, "weight_decompose": True, "wd_on_out": False}),
}


def layer_of(weight, bias):
    """The torch module with these."""
    bias_there = bias is not None
    if weight.ndim == 1:
        layer = torch.nn.GroupNorm(8, weight.numel())
    elif weight.ndim == 2:
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias_there)
    else:
        layer = torch.nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], padding=weight.shape[2] // 2, bias=bias_there)
    layer.double().weight.data = weight.double()
    if bias_there:
        layer.bias.data = bias.double()
    return layer


def merged_by(module, layer, shape):
    """The weight that forward multiplies with, told by what it does to unit vectors; and the bias."""
    if isinstance(module, NormModule):
        return layer.weight + module.w_norm, layer.bias + module.b_norm
    columns = shape[1]
    if len(shape) == 2:
        bias = module(torch.zeros(1, columns, dtype=torch.float64))[0]
        return (module(torch.eye(columns, dtype=torch.float64)) - bias).T, bias
    size = shape[2]
    dots = torch.zeros(columns, columns, size, size, dtype=torch.float64)
    dots[range(columns), range(columns), size // 2, size // 2] = 1
    bias = module(torch.zeros(1, columns, size, size, dtype=torch.float64))[0, :, size // 2, size // 2]
    return (module(dots) - bias[:, None, None]).transpose(0, 1).flip(2, 3), bias


def main():
    demo = load_file(ROOT / "models/demo/unet/diffusion_pytorch_model.safetensors")
    tensors, merged, names = {}, {}, {}
    torch.manual_seed(1)
    for case, (kind, name, options) in CASES.items():
        weight, bias = demo[f"{name}.weight"], demo.get(f"{name}.bias")
        layer = layer_of(weight.float(), None if bias is None else bias.float())
        module = kind(case, layer, **{"lora_dim": 3, "alpha": 2, **options}).double()
        for key, parameter in module.named_parameters():
            if not key.startswith("org_module") and "dora" not in key:
                parameter.data = 0.3 * torch.randn(parameter.shape, dtype=torch.float64).float().double()
            elif "dora" in key:
                parameter.data = (parameter.data * (1 + 0.3 * torch.randn(parameter.shape, dtype=torch.float64))).float().double()
        if kind is FullModule:
            module.apply_to()
        with torch.no_grad():
            new, new_bias = merged_by(module, layer, weight.shape)
        flat = "lora_unet_" + name.replace(".", "_")
        saved = module.custom_state_dict() or {key: getattr(module, key) for key in module.weight_list}
        tensors |= {f"{flat}.{key}": value.detach().float().contiguous() for key, value in saved.items()}
        merged[f"{case}.weight"] = new.float().contiguous()
        names[case] = f"unet/{name}"
        if bias is not None:
            merged[f"{case}.bias"] = new_bias.float().contiguous()
        moved = (new - weight.double()).norm() / weight.double().norm()
        print(f"{case}: moved by {moved:.2f} of its length", {key: list(value.shape) for key, value in saved.items()})
    save_file(tensors, HERE / "lycoris.safetensors")
    save_file(merged, HERE / "lycoris-merged.safetensors", names)


if __name__ == "__main__":
    main()
