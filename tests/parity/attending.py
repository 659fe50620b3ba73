"""Attention processors that compute attention step by step, keep what was asked for, and can give every block another prompt."""
import numpy as np
import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_2d import Transformer2DModel


def transformers(unet):
    """The blocks with attention, by name, and their transformer."""
    found, number = {}, 1
    for block in unet.down_blocks:
        for attention in getattr(block, "attentions", [None] * len(block.resnets)):
            if attention is not None:
                found[f"IN{number:02}"] = attention
            number += 1
        number += bool(block.downsamplers)
    found["M00"] = unet.mid_block.attentions[0]
    number = 0
    for block in unet.up_blocks:
        for attention in getattr(block, "attentions", [None] * len(block.resnets)):
            if attention is not None:
                found[f"OUT{number:02}"] = attention
            number += 1
    assert len(found) == 16 and all(isinstance(found[name], Transformer2DModel) for name in found)
    return found


def heads_apart(x, heads):
    """[rows, tokens, heads * dim] to [rows, heads, tokens, dim]"""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Recorder:
    """Attention as Vaswani et al. 2017 write it, of every block of a U-Net.

    contexts  {block: [rows, 77, width]}: what the block attends to instead of the U-Net's argument
    kept      {(block, "cross" or "self"): {"k", "probs", "vqk"}} of the last evaluation
    sizes     {block: (h, w)} of the positions that attend
    """

    def __init__(self, unet):
        self.contexts, self.kept, self.sizes = {}, {}, {}
        for name, transformer in transformers(unet).items():
            transformer.register_forward_pre_hook(lambda _module, inputs, name=name: self.sizes.update({name: inputs[0].shape[2:]}))
            for module in transformer.modules():
                if isinstance(module, Attention):
                    module.set_processor(Processor(self, name))


class Processor:
    def __init__(self, recorder, block):
        self.recorder, self.block = recorder, block

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        assert attention_mask is None and attn.group_norm is None and not attn.norm_cross and not attn.residual_connection
        kind = "self" if encoder_hidden_states is None else "cross"
        source = hidden_states if kind == "self" else self.recorder.contexts.get(self.block, encoder_hidden_states)
        q = heads_apart(attn.to_q(hidden_states), attn.heads)
        k, v = (heads_apart(project(source), attn.heads) for project in (attn.to_k, attn.to_v))
        probs = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        out = (probs @ v).transpose(1, 2).flatten(2)
        self.recorder.kept[self.block, kind] = {"k": k, "probs": probs, "vqk": out}
        return attn.to_out[0](out)


def cross_maps(kept, row, size, tokens):
    """One row's Q*K [heads, tokens, h, w] of the listed tokens, and V*Q*K [channels, h, w]."""
    probs, vqk = kept["probs"][row], kept["vqk"][row]
    return {"qk": probs[..., tokens].transpose(1, 2).unflatten(2, size), "vqk": vqk.T.unflatten(1, size)}


def self_maps(probs, size, positions, whole):
    """What is shown of one row's self-attention probabilities [heads, h * w, h * w]; positions are (x, y) in the block."""
    queries = [y * size[1] + x for x, y in positions]
    mean = probs.double().mean(0).numpy()
    u, s, _ = np.linalg.svd(mean - mean.mean(0), full_matrices=False)
    scores = (u * s)[:, :3].T
    scores *= np.sign(scores[np.arange(3), np.abs(scores).argmax(1)])[:, None]
    maps = {
        "self-received": probs.mean(1).unflatten(1, size),
        "self-entropy": -torch.xlogy(probs, probs).sum(-1).unflatten(1, size),
        "self-queries": probs[:, queries].unflatten(2, size),
        "self-pca": torch.from_numpy(scores).unflatten(1, size),
        "self-variances": torch.from_numpy(s[:5] ** 2),
    }
    return {**maps, "self-map": probs} if whole else maps
