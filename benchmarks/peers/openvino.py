"""OpenVINO: openvino-fp32|bf16, of the same modules, converted once into a folder beside the checkpoint; its load is reading and compiling them."""
from pathlib import Path

import numpy as np
import openvino as ov


class Peer:
    def __init__(self, name, folder, threads, side, batch, width):
        self.folder, self.side, self.batch, self.width = Path(folder), side, batch, width
        self.converted = self.folder.parent / (self.folder.name + "-openvino")
        self.core = ov.Core()
        self.core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1",
                                       "INFERENCE_PRECISION_HINT": "bf16" if name.endswith("bf16") else "f32"})
        if not (self.converted / "decoder.xml").exists():
            self.convert()

    def convert(self):
        import torch

        from peers import model

        torch.set_grad_enabled(False)
        latent = torch.zeros(2, 4, 16, 16)
        for name, module, example in (
            ("encoder", model.Encoder(model.text(self.folder, torch.float32)), (torch.zeros(1, 77, dtype=torch.int64),)),
            ("unet", model.Denoiser(model.unet(self.folder, torch.float32)), (latent, torch.tensor([1.0]), torch.zeros(2, 77, self.width))),
            ("decoder", model.Decoder(model.vae(self.folder, torch.float32)), (latent[:1],)),
        ):
            # The checkpoint is fp16: compressing back to it loses nothing.
            ov.save_model(ov.convert_model(module, example_input=example), self.converted / f"{name}.xml", compress_to_fp16=True)

    def compiled(self, name, shapes):
        network = self.core.read_model(self.converted / f"{name}.xml")
        network.reshape(dict(enumerate(shapes)) if len(shapes) > 1 else shapes[0])
        return self.core.compile_model(network, "CPU").create_infer_request()

    def load(self):
        h = self.side // 8
        self.encoder = self.compiled("encoder", [[1, 77]])
        self.unet = self.compiled("unet", [[self.batch, 4, h, h], [1], [self.batch, 77, self.width]])
        self.decoder = self.compiled("decoder", [[1, 4, h, h]])

    def text(self, ids):
        return next(iter(self.encoder.infer([ids]).values()))

    def step(self, latent, timestep, context):
        return next(iter(self.unet.infer([latent, np.array([timestep], np.float32), context]).values()))

    def decode(self, latent):
        return next(iter(self.decoder.infer([latent]).values()))
