"""What looking costs in PyTorch: hooks and recording processors, pictures by NumPy and Pillow. Blocks are the U-Net's stages in the original numbering."""
import numpy as np
import torch
from PIL import Image

ROWS = ("features", "cross", "diff")


def stages(unet):
    """{name: the module whose output is the block's}, in order."""
    found, number = {"IN00": unet.conv_in}, 1
    for block in unet.down_blocks:
        for i, resnet in enumerate(block.resnets):
            found[f"IN{number:02}"] = block.attentions[i] if hasattr(block, "attentions") else resnet
            number += 1
        if block.downsamplers:
            found[f"IN{number:02}"] = block.downsamplers[0]
            number += 1
    found["M00"] = unet.mid_block
    number = 0
    for block in unet.up_blocks:
        for i, resnet in enumerate(block.resnets):
            module = block.attentions[i] if hasattr(block, "attentions") else resnet
            if block.upsamplers and i + 1 == len(block.resnets):
                module = block.upsamplers[0]
            found[f"OUT{number:02}"] = module
            number += 1
    return found


def hsl(v):
    """colorsys.hls_to_rgb((2 + v) / 3, 0.5, 1.0) of every value at once: [..., 3] bytes."""
    hue = (2 + v) / 3

    def channel(h):
        h = h % 1.0
        return np.where(h < 1 / 6, 6 * h, np.where(h < 1 / 2, 1.0, np.where(h < 2 / 3, (2 / 3 - h) * 6, 0.0)))

    return (np.stack([channel(hue + 1 / 3), channel(hue), channel(hue - 1 / 3)], -1) * 255 + 0.5).astype(np.uint8)


def picture(tiles, columns):
    """[n, h, w] values, each tile stretched to 0..1 by its own least and most, in a grid with one black pixel between tiles."""
    low, high = tiles.min((1, 2), keepdims=True), tiles.max((1, 2), keepdims=True)
    n, h, w = tiles.shape
    rows = -(-n // columns)
    canvas = np.zeros((rows * (h + 1) - 1, columns * (w + 1) - 1, 3), np.uint8)
    for i, tile in enumerate(hsl((tiles - low) / np.maximum(high - low, 1e-12))):
        top, left = i // columns * (h + 1), i % columns * (w + 1)
        canvas[top:top + h, left:left + w] = tile
    return Image.fromarray(canvas)


def canvas(tiles):
    """A block's channels, in the grid that ours have when their number is a power of two or five times one."""
    n = len(tiles)
    return picture(tiles, next(c for c in range(1, n + 1) if n % c == 0 and c * c >= n))


class Recording:
    """A cross-attention processor that computes the map itself, since a fused attention has none to keep: DAAM's way."""

    def __init__(self, maps, name):
        self.maps, self.name = maps, name

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        q, k, v = attn.to_q(hidden_states), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        q, k, v = (attn.head_to_batch_dim(t) for t in (q, k, v))
        probabilities = attn.get_attention_scores(q, k)
        self.maps[self.name] = probabilities.unflatten(0, (-1, attn.heads))[0]  # [heads, positions, tokens] of the prompt's row
        return attn.to_out[0](attn.batch_to_head_dim(probabilities @ v))


class Looking:
    def __init__(self, unet, row, folder):
        self.row, self.folder, self.unet = row, folder, unet
        self.kept, self.hooks, self.before = {}, [], unet.attn_processors
        folder.mkdir(exist_ok=True)
        if row == "cross":
            processors = dict(self.before)
            for name in processors:
                if "attn2" in name:
                    processors[name] = Recording(self.kept, name.removesuffix(".processor"))
            unet.set_attn_processor(processors)
            return
        for name, module in stages(unet).items():
            self.hooks.append(module.register_forward_hook(lambda _m, _i, output, name=name: self.keep(name, output)))

    def keep(self, name, output):
        output = output[0] if isinstance(output, tuple) else output
        self.kept[name] = output[0] - output[1] if self.row == "diff" else output[0]

    def step(self, peer, given):
        if self.row == "diff":  # the prompt's row, that of its twin with another prompt, and the negative prompt's for both
            peer.step(np.repeat(given["latent"][:1], 4, 0), float(given["timestep"]), given["four"])
        else:
            peer.step(given["latent"], float(given["timestep"]), given["context"])
        for name, tensor in self.kept.items():
            values = tensor.float().numpy()
            if self.row == "cross":
                heads, positions, tokens = values.shape
                side = int(positions**0.5)
                drawn = picture(values.reshape(heads, side, side, tokens).transpose(0, 3, 1, 2).reshape(-1, side, side), tokens)
            else:
                drawn = canvas(values)
            drawn.save(self.folder / f"{self.row}-{name}.png")

    def outputs(self):
        return {f"{self.row} {name}": tensor.float().numpy() for name, tensor in self.kept.items()}

    def remove(self):
        for hook in self.hooks:
            hook.remove()
        self.unet.set_attn_processor(self.before)
