"""PyTorch and diffusers: pytorch-fp32|bf16[-last][-compile]; "last" is channels-last, the others are eager and channels-first."""
import torch

from peers import model


class Peer:
    def __init__(self, name, folder, threads, side, batch, width):
        words = name.split("-")
        self.folder, self.side, self.batch = folder, side, batch
        self.dtype = torch.bfloat16 if "bf16" in words else torch.float32
        self.last, self.compiles = "last" in words, "compile" in words
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)

    def load(self):
        self.denoiser = model.Denoiser(model.unet(self.folder, self.dtype))
        self.decoder = model.Decoder(model.vae(self.folder, self.dtype))
        self.encoder = model.Encoder(model.text(self.folder, self.dtype))
        if self.last:
            self.denoiser, self.decoder = (m.to(memory_format=torch.channels_last) for m in (self.denoiser, self.decoder))
        self.unet = self.denoiser.model
        if self.compiles:
            self.denoiser, self.decoder = torch.compile(self.denoiser), torch.compile(self.decoder)

    def given(self, array, picture=False):
        tensor = torch.from_numpy(array).to(self.dtype)
        return tensor.contiguous(memory_format=torch.channels_last) if picture and self.last else tensor

    def text(self, ids):
        return self.encoder(torch.from_numpy(ids)).float().numpy()

    def step(self, latent, timestep, context):
        return self.denoiser(self.given(latent, True), torch.tensor([timestep]), self.given(context)).float().numpy()

    def decode(self, latent):
        return self.decoder(self.given(latent, True)).float().numpy()
