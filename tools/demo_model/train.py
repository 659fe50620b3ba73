"""Train the demo model: stages text, vae, latents, decoder, unet, export.

Every stage but latents and export runs for a time budget, writes a checkpoint every three
minutes to --work and goes on from it when started again. The learning rate
follows the share of the budget that is spent, so give the same budget again.
"""
import argparse
import copy
import json
import math
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import models
import world

LAST = torch.channels_last


class Run:
    """A resumable, time-budgeted training loop over `model`."""

    def __init__(self, name, model, args, lr, minutes, ema=0.0):
        self.path = Path(args.work) / f"{name}.pt"
        self.name, self.model, self.lr, self.budget = name, model, lr, minutes * 60
        self.optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr, (0.9, 0.99), weight_decay=0.01)
        self.step, self.spent, self.decay = 0, 0.0, ema
        self.average = copy.deepcopy(model).requires_grad_(False) if ema else model
        self.losses, self.stopped = [], False
        if self.path.exists():
            self.load()

    def load(self):
        state = torch.load(self.path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.spent = state["step"], state["spent"]

    def save(self):
        state = {"model": self.model.state_dict(), "average": self.average.state_dict(),
                 "optimiser": self.optimiser.state_dict(), "step": self.step, "spent": self.spent}
        torch.save(state, self.path.with_suffix(".tmp"))
        os.replace(self.path.with_suffix(".tmp"), self.path)

    def rate(self):
        """Warm-up over 100 steps, flat for a third of the budget, cosine to zero."""
        fall = max(0.0, (self.spent / self.budget - 0.33) / 0.67)
        return self.lr * min(1, (self.step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * min(1, fall)))

    def update_average(self):
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for a, p in zip(self.average.parameters(), self.model.parameters()):
                a.lerp_(p, 1 - decay)

    def train(self, loss_of):
        """Step until the budget is spent; `loss_of(share of the budget)` gives the loss."""
        saved = logged = time.time()
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopped", True))
        while self.spent < self.budget and not self.stopped:
            start = time.time()
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate()
            loss = loss_of(self.spent / self.budget)
            self.optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.optimiser.param_groups[0]["params"], 1.0)
            self.optimiser.step()
            if self.decay:
                self.update_average()
            self.step += 1
            self.losses.append(loss.item())
            self.spent += time.time() - start
            if time.time() - logged > 15:
                logged = time.time()
                print(f"{self.name} step {self.step} {self.spent:.0f} s "
                      f"loss {np.mean(self.losses[-100:]):.4f} lr {self.rate():.2e}", flush=True)
            if time.time() - saved > 180:
                saved = time.time()
                self.save()
        self.save()
        if self.stopped:
            raise SystemExit(f"{self.name}: stopped at step {self.step}")


# ---- text encoder --------------------------------------------------------

def text_codes():
    """Orthogonal directions for every value of every attribute, and for word kinds.

    They are orthogonal to (1, .., 1), so the final layer norm can emit their sums.
    """
    noise = torch.randn(models.WIDTH, models.WIDTH, generator=torch.Generator().manual_seed(0))
    noise[:, 0] = 1
    basis = torch.linalg.qr(noise)[0].T[1:]
    sizes = {"colour": len(world.COLOURS) + 1, "shape": len(world.SHAPES) + 1,
             "background": len(world.COLOURS) + 1, "kind": 5}
    return dict(zip(sizes, basis[: sum(sizes.values())].split(list(sizes.values()))))


def text_target(caption, said, codes):
    """What the encoder should say at each of the 77 positions.

    Every position states the attributes known so far (None is value 0), and
    what kind of word stands there: other, end, colour, shape, background.
    """
    colour, shape, background = said
    words = caption.replace(",", " ,").split()
    kinds, known = [0] * (len(words) + 1), [[0, 0, 0] for _ in range(models.POSITIONS)]
    behind = "on" in words or "," in words or shape is None
    split = next((n for n, w in enumerate(words) if w in ("on", ",")), 0 if behind else len(words))
    if caption == colour:
        split = len(words)
    for n, word in enumerate(words):
        fact = None
        if word == shape:
            fact, value = 1, 1 + world.SHAPES.index(word)
        elif word in world.COLOURS:
            fact, value = (2 if n >= split else 0), 1 + list(world.COLOURS).index(word)
        if fact is not None:
            kinds[n + 1] = 2 + fact
            for k in known[n + 1:]:
                k[fact] = value
    kinds += [1] * (models.POSITIONS - len(kinds))
    c, s, b = torch.tensor(known).T
    return (codes["colour"][c] + codes["shape"][s] + codes["background"][b]
            + 0.7 * codes["kind"][torch.tensor(kinds)])


def all_captions():
    """Every caption of the world once, with what it says."""
    found = {}
    for colour in world.COLOURS:
        for background in world.COLOURS:
            for shape in world.SHAPES if colour != background else ():
                scene = {"colour": colour, "background": background, "shape": shape}
                found.update({text: said for text, _, said in world.caption_variants(scene)})
    return found


def random_words(tok, ids, rng):
    """Put random words between others, so that unknown words are passed over."""
    for row in ids:
        if rng.random() < 0.25:
            end = int((row == models.END).nonzero()[0])
            at, word = rng.integers(1, end + 1), int(rng.integers(256, models.END - 1))
            row[at + 1:] = row[at:-1].clone()
            row[at] = word
            yield at
        else:
            yield None


def stage_text(args):
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    tok = models.tokenizer(f"{args.work}/tokenizer")
    codes, captions = text_codes(), all_captions()
    ids = models.tokenize(tok, list(captions))
    goal = F.layer_norm(torch.stack([text_target(c, s, codes) for c, s in captions.items()]),
                        (models.WIDTH,))
    empty = list(captions).index("")
    model = models.text_encoder()
    model.final_layer_norm.requires_grad_(False)
    run = Run("text", model, args, 2e-3, args.text_minutes)

    def loss_of(_):
        pick = torch.from_numpy(rng.integers(0, len(ids), 48))
        pick[:4] = empty
        batch, want = ids[pick].clone(), goal[pick].clone()
        for row, at in zip(want, random_words(tok, batch, rng)):
            if at is not None:
                row[at + 1:] = row[at:-1].clone()
                row[at] = row[at - 1]
        return F.mse_loss(model(batch).last_hidden_state, want)

    run.train(loss_of)
    with torch.no_grad():
        error = F.mse_loss(model(ids).last_hidden_state, goal)
    print(f"text: mean square error over all {len(ids)} captions {error:.5f}")
    cache_texts(args, model, tok)


@torch.no_grad()
def cache_texts(args, model, tok):
    captions = list(all_captions())
    hidden = model.half().float()(models.tokenize(tok, captions)).last_hidden_state
    torch.save({"captions": captions, "hidden": hidden}, f"{args.work}/texts.pt")


# ---- autoencoder ---------------------------------------------------------

def pictures(rng, count, size):
    """Random pictures [-1, 1]; smaller ones than the world's are cut out at an edge."""
    return torch.from_numpy(np.stack([
        world.render(world.random_scene(rng, size, size >= world.SIZE), size)
        for _ in range(count)])).mul_(2).sub_(1).contiguous(memory_format=LAST)


def stage_vae(args):
    """Cut-outs first, because most of a picture is flat; whole pictures later.

    A linear probe from latents to local mean colour keeps colour linear there.
    """
    torch.manual_seed(2)
    rng = np.random.default_rng(time.time_ns())
    model = models.vae().to(memory_format=LAST)
    model.probe = torch.nn.Conv2d(4, 3, 1)
    run = Run("vae", model, args, 2e-3, args.vae_minutes)

    def loss_of(share):
        x = pictures(rng, 8, 64) if share < 0.6 else pictures(rng, 4, 128)
        latent = model.encode(x).latent_dist
        z = latent.sample()
        y = model.decode(z).sample
        error = y - x
        colour = F.mse_loss(model.probe(z), F.avg_pool2d(x, 8))
        spread = latent.kl().mean() / z[0].numel()
        return error.abs().mean() + error.square().mean() + 0.1 * colour + 1e-4 * spread

    run.train(loss_of)


def load_vae(args, names=("decoder", "vae_even", "vae")):
    """The autoencoder of the latest stage that has run."""
    model = models.vae()
    path = next((p for p in (Path(args.work) / f"{n}.pt" for n in names) if p.exists()), None)
    if path:
        state = torch.load(path, weights_only=True)["average"]
        model.load_state_dict({k: v for k, v in state.items() if not k.startswith("probe")})
    model.half().float().requires_grad_(False)
    return model.to(memory_format=LAST)


def even_out(vae, mean, factor):
    """Fold z -> (z - mean) * factor, per channel, into the autoencoder's 1x1 convolutions."""
    into, out = vae.quant_conv, vae.post_quant_conv
    flat = out.weight[:, :, 0, 0]
    out.bias += flat @ mean
    out.weight /= factor.view(1, -1, 1, 1)
    into.bias[:4] -= mean
    into.bias[:4] *= factor
    into.weight[:4] *= factor.view(-1, 1, 1, 1)
    into.bias[4:] += 2 * factor.log()


@torch.no_grad()
def stage_latents(args):
    """Encode --pictures random pictures once; the U-Net learns from these.

    All channels get mean 0 and the same variance.
    """
    rng = np.random.default_rng(3)
    vae, latents, scenes = load_vae(args, ["vae"]), [], []
    for _ in range(args.pictures // 16):
        some = [world.random_scene(rng) for _ in range(16)]
        x = torch.from_numpy(np.stack([world.render(s) for s in some])) * 2 - 1
        latents.append(vae.encode(x.contiguous(memory_format=LAST)).latent_dist.mean)
        scenes += some
    latents = torch.cat(latents).contiguous()
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    even_out(vae, mean, deviation.mean() / deviation)
    torch.save({"average": vae.state_dict()}, f"{args.work}/vae_even.pt")
    latents = ((latents.permute(0, 2, 3, 1) - mean) / deviation).permute(0, 3, 1, 2).half().contiguous()
    scale = 1 / deviation.mean().item()
    torch.save({"latents": latents, "scenes": scenes, "scale": scale}, f"{args.work}/latents.pt")
    print(f"latents: {len(scenes)}, scaling factor {scale:.5f}")


def stage_decoder(args):
    """Train the decoder on, with the latents as they are; may run beside the U-Net."""
    torch.manual_seed(4)
    rng = np.random.default_rng(time.time_ns())
    vae = load_vae(args, ["vae_even"])
    vae.decoder.requires_grad_(True)
    run = Run("decoder", vae, args, 1.5e-3, args.decoder_minutes)

    def loss_of(_):
        x = pictures(rng, 4, 128)
        with torch.no_grad():
            z = vae.encode(x).latent_dist.sample()
            z += 0.03 * z.std() * torch.randn_like(z)
        error = vae.decode(z).sample - x
        return error.abs().mean() + error.square().mean()

    run.train(loss_of)


# ---- U-Net ---------------------------------------------------------------

WORDS = 9  # positions up to a full caption's end token; all later ones say the same


class Captions:
    """Draws captions for pictures and gives their cached encodings, cut short.

    The padding's 68 encodings are alike: one mean of them stands for all, and
    the mask gives it their weight in the softmax (diffusers turns a mask m into
    a bias of -10000 (1 - m)). That saves most of cross-attention's time.
    """

    def __init__(self, args, scenes, rng):
        cache = torch.load(f"{args.work}/texts.pt", weights_only=True)
        hidden, self.rng = cache["hidden"], rng
        self.hidden = torch.cat([hidden[:, :WORDS], hidden[:, WORDS:].mean(1, keepdim=True)], 1)
        self.mask = torch.ones(1, WORDS + 1)
        self.mask[0, -1] += math.log(models.POSITIONS - WORDS) / 10000
        where = {text: n for n, text in enumerate(cache["captions"])}
        self.empty, choices = where[""], {}
        self.choices = []
        for scene in scenes:
            key = (scene["colour"], scene["shape"], scene["background"])
            if key not in choices:
                variants = world.caption_variants(scene)
                choices[key] = ([where[v[0]] for v in variants], np.cumsum([v[1] for v in variants]))
            self.choices.append(choices[key])

    def draw(self, picks):
        numbers = []
        for n in picks:
            texts, cumulative = self.choices[n]
            numbers.append(texts[min(np.searchsorted(cumulative, self.rng.random()), len(texts) - 1)])
        return self.hidden[numbers]


def drop_captions(model, empty):
    """Let 15 % of a batch see the empty caption in a random half of the blocks.

    So no block may rely on another having read the caption.
    """
    def hook(module, args, kwargs):
        text = kwargs["encoder_hidden_states"]
        hit = torch.rand(len(text), 1, 1)
        kwargs["encoder_hidden_states"] = torch.where(hit < model.drop, empty, text)
        return args, kwargs

    for name, module in model.named_modules():
        if name.endswith("attn2"):
            module.register_forward_pre_hook(hook, with_kwargs=True)


def noise_levels():
    """alpha-bar for each of the 1000 steps."""
    return models.scheduler().alphas_cumprod


def unet_loss(args, model):
    """The function that draws a batch and gives the U-Net's loss on it.

    The U-Net predicts the noise; squared errors weigh 1/alpha-bar (up to 60).
    That is the loss of v-prediction: it asks for the picture itself where
    noise is high, and there it is decided which colour goes where.
    """
    torch.manual_seed(time.time_ns() % 2**31)
    rng = np.random.default_rng(time.time_ns())
    data = torch.load(f"{args.work}/latents.pt", weights_only=False)
    latents, captions = data["latents"].float(), Captions(args, data["scenes"], rng)
    alphas = noise_levels()
    drop_captions(model, captions.hidden[captions.empty])
    mask = captions.mask.expand(args.batch, -1)

    def loss_of(_):
        model.drop = torch.where(torch.rand(args.batch, 1, 1) < 0.15, 0.5, 0.0)
        picks = rng.integers(0, len(latents), args.batch)
        t = (1000 * torch.rand(args.batch) ** 0.8).long().clamp(max=999)
        a = alphas[t].view(-1, 1, 1, 1)
        noise = torch.randn(args.batch, *latents.shape[1:])
        x = (a.sqrt() * latents[picks] + (1 - a).sqrt() * noise).contiguous(memory_format=LAST)
        guess = model(x, t, captions.draw(picks), encoder_attention_mask=mask).sample
        error = (guess - noise).square().mean((1, 2, 3))
        return (error / a.flatten().clamp(min=1 / 60)).mean()

    return loss_of


def assist(args, model, rate):
    """Train the shared weights in a second process, without waiting for the first."""
    torch.set_num_threads(args.threads)
    loss_of = unet_loss(args, model)
    optimiser = torch.optim.AdamW(model.parameters(), args.lr, (0.9, 0.99), weight_decay=0.01)
    while os.getppid() == args.parent:
        optimiser.param_groups[0]["lr"] = rate.item()
        optimiser.zero_grad()
        loss_of(None).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()


def stage_unet(args):
    """Train the U-Net in --workers processes that share its weights (Hogwild)."""
    model = models.unet().to(memory_format=LAST)
    run = Run("unet", model, args, args.lr, args.unet_minutes, ema=0.997)
    model.share_memory()
    rate = torch.tensor([run.rate()]).share_memory_()
    args.parent = os.getpid()
    spawn = torch.multiprocessing.get_context("spawn")
    others = [spawn.Process(target=assist, args=(args, model, rate), daemon=True)
              for _ in range(args.workers - 1)]
    for process in others:
        process.start()
    batch_loss = unet_loss(args, model)

    def loss_of(share):
        rate[0] = run.rate()
        return batch_loss(share)

    try:
        run.train(loss_of)
    finally:
        for process in others:
            process.kill()


# ---- export --------------------------------------------------------------

def load_stage(args, name, model):
    path = Path(args.work) / f"{name}.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True)["average"])
    return model


def tidy_text_encoder(folder):
    """Give the text encoder's tensors the names Stable Diffusion 1 has for them.

    And let it load as fp32 by default, as diffusers loads the other models.
    """
    config = Path(folder) / "text_encoder" / "config.json"
    config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))
    path = Path(folder) / "text_encoder" / "model.safetensors"
    tensors = {k if k.startswith("text_model.") else f"text_model.{k}": v
               for k, v in load_file(path).items() if not k.endswith("position_ids")}
    save_file(tensors, path, metadata={"format": "pt"})


def stage_export(args):
    """Write the diffusers folder with fp16 weights, in one go."""
    out, new = Path(args.out), Path(args.out).with_name(f".{Path(args.out).name}.new")
    shutil.rmtree(new, ignore_errors=True)
    latents = Path(args.work) / "latents.pt"
    vae = load_vae(args)
    vae.register_to_config(scaling_factor=torch.load(latents, weights_only=False)["scale"]
                           if latents.exists() else 1.0)
    load_stage(args, "text", models.text_encoder()).half().save_pretrained(new / "text_encoder")
    load_stage(args, "unet", models.unet()).half().save_pretrained(new / "unet")
    vae.half().save_pretrained(new / "vae")
    models.scheduler().save_pretrained(new / "scheduler")
    tidy_text_encoder(new)
    shutil.copytree(f"{args.work}/tokenizer", new / "tokenizer")
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1",
             "feature_extractor": [None, None], "requires_safety_checker": False,
             "safety_checker": [None, None], "image_encoder": [None, None],
             "scheduler": ["diffusers", "DDIMScheduler"],
             "text_encoder": ["transformers", "CLIPTextModel"],
             "tokenizer": ["transformers", "CLIPTokenizer"],
             "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    (new / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    for path in new.rglob("*.safetensors"):
        path.chmod(0o644)
    if (out / "README.md").exists():
        shutil.copy(out / "README.md", new)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(new, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=["text", "vae", "latents", "decoder", "unet", "export"])
    parser.add_argument("--work", default="work", help="checkpoints and caches")
    parser.add_argument("--out", default="../../models/demo")
    parser.add_argument("--bpe", help="CLIP's bpe_simple_vocab_16e6.txt.gz (needed once)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--text-minutes", type=float, default=3)
    parser.add_argument("--vae-minutes", type=float, default=20)
    parser.add_argument("--decoder-minutes", type=float, default=10)
    parser.add_argument("--unet-minutes", type=float, default=135)
    parser.add_argument("--pictures", type=int, default=10240)
    parser.add_argument("--workers", type=int, default=2, help="processes for the U-Net, each of --threads")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=7e-4)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    Path(args.work).mkdir(parents=True, exist_ok=True)
    if args.bpe:
        models.write_tokenizer(args.bpe, f"{args.work}/tokenizer")
    for stage in args.stages:
        globals()[f"stage_{stage}"](args)


if __name__ == "__main__":
    main()
