"""Makes tests/data/sample/{random,schedules,runs}.json: what torch, k-diffusion and the webui's DDIM compute.

Needs, from PyPI:
    torch==2.15.0 numpy==2.4.6 diffusers==0.42.1
    k-diffusion==0.1.1.post1 torchsde==0.2.6 torchdiffeq==0.2.5 scipy==1.17.1 trampoline==0.1.2 tqdm==4.70.1
    (pip install --no-deps k-diffusion will do: its other dependencies are not used here)

    python tests/parity/make_sample_goldens.py [OUTPUT_FOLDER]
"""
import importlib.util
import json
import pathlib
import sys
import types

import numpy as np
import torch
from diffusers import DDIMScheduler


def import_k_diffusion():
    """k_diffusion.sampling and .external alone: the package's own imports (training, evaluation) want much more."""
    spec = importlib.util.find_spec("k_diffusion")
    package = types.ModuleType("k_diffusion")
    package.__path__ = list(spec.submodule_search_locations)
    utils = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, count: x[(...,) + (None,) * (count - x.ndim)]
    package.utils = utils
    sys.modules.update({"k_diffusion": package, "k_diffusion.utils": utils})
    import k_diffusion.external
    import k_diffusion.sampling
    return k_diffusion


K = import_k_diffusion()
STEPS = [3, 10, 20]
BATCH, CHANNELS, HEIGHT, WIDTH = 2, 4, 2, 3
SEED = 7
SAMPLERS = {
    "Euler": K.sampling.sample_euler,
    "Euler a": K.sampling.sample_euler_ancestral,
    "DPM++ 2M": K.sampling.sample_dpmpp_2m,
}


def floats(tensor):
    return [float(f"{value:.9g}") for value in np.asarray(tensor, dtype=np.float64).ravel()]


# ---------------------------------------------------------------- noise


def philox(seed, draw, count):
    """Philox 4x32-10 on numpy, then Box-Muller with curand's float32 constants, in double."""
    element = np.arange(count, dtype=np.uint64)
    c = [np.full(count, draw, np.uint64), np.zeros(count, np.uint64), element & 0xFFFFFFFF, element >> np.uint64(32)]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        low = np.uint64(0xFFFFFFFF)
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(key[0]), p1 & low, (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(key[1]), p0 & low]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    scale = np.float64(np.float32(2.3283064e-10))
    turn = np.float64(np.float32(2.3283064e-10 * 6.2831855))
    u = c[0].astype(np.float64) * scale + scale / 2
    v = c[1].astype(np.float64) * turn + turn / 2
    return (np.sqrt(-2.0 * np.log(u)) * np.sin(v)).astype(np.float32)


def summary(values):
    """Some values where they are many, and sums over all."""
    count = len(values)
    places = sorted(set(range(min(count, 8))) | set(range(0, count, 101)) | set(range(max(0, count - 20), count)))
    wide = values.astype(np.float64)
    return {
        "count": count,
        "places": places,
        "values": floats(values[places]),
        "sum": float(wide.sum()),
        "sum_of_magnitudes": float(np.abs(wide).sum()),
    }


def random_goldens():
    sequences = [[4 * 16 * 16], [4 * 15 * 17], [4 * 15 * 17, 4 * 15 * 17, 4 * 16 * 16], [15, 15, 16, 15], [16, 17, 31], [1, 1, 1, 5]]
    seeds = [0, 1, 1234567, 2**32 + 5, 2**63 + 9]
    cases = []
    for seed in seeds:
        for sequence in sequences:
            generator = torch.Generator().manual_seed(seed)
            cpu = [torch.randn(count, generator=generator).numpy() for count in sequence]
            nv = [philox(seed, draw, count) for draw, count in enumerate(sequence)]
            cases.append({"seed": str(seed), "cpu": [summary(v) for v in cpu], "nv": [summary(v) for v in nv]})
    return {"torch": torch.__version__.split("+")[0], "cases": cases}


# ---------------------------------------------------------------- schedules


def alphas_cumprod():
    """LDM's make_beta_schedule("linear"), which others call scaled_linear."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return torch.tensor(np.cumprod(1.0 - betas.numpy(), axis=0), dtype=torch.float32)


def predicted_noise(x, timestep):
    """The stand-in for a U-Net, the same in tests/unit/test_samplers.c; timestep: [batch]."""
    channel = torch.arange(CHANNELS, dtype=x.dtype)[None, :, None, None]
    return torch.tanh(1.3 * x + 0.3 * torch.sin(timestep.to(x.dtype) * 0.01)[:, None, None, None] + 0.1 * channel)


def k_model():
    return K.external.DiscreteEpsDDPMDenoiser(predicted_noise, alphas_cumprod(), quantize=False)


def k_sigmas(model, schedule, steps):
    if schedule == "Uniform":
        return model.get_sigmas(steps)
    return K.sampling.get_sigmas_karras(steps, model.sigmas[0].item(), model.sigmas[-1].item())


def ddim_timesteps(steps):
    return torch.clip(torch.asarray(list(range(0, 1000, 1000 // steps))) + 1, 0, 999)


def schedule_goldens():
    model = k_model()
    places = [0, 1, 2, 10, 100, 250, 500, 750, 998, 999]
    levels = {"places": places, "alphas_cumprod": floats(alphas_cumprod()[places]), "sigmas": floats(model.sigmas[places])}
    schedules = []
    for name in ["Uniform", "Karras"]:
        for steps in [1, 2] + STEPS:
            sigmas = k_sigmas(model, name, steps)
            timesteps = model.sigma_to_t(sigmas[:-1])
            schedules.append({"name": name, "steps": steps, "sigmas": floats(sigmas), "timesteps": floats(timesteps)})
    ddim = [{"steps": steps, "timesteps": ddim_timesteps(steps).tolist()} for steps in [1, 2] + STEPS + [30]]
    return {"levels": levels, "schedules": schedules, "ddim": ddim}


# ---------------------------------------------------------------- whole runs


def noise(draw):
    """One draw of the batch: image i from seed + i."""
    images = [philox(SEED + i, draw, CHANNELS * HEIGHT * WIDTH).reshape(CHANNELS, HEIGHT, WIDTH) for i in range(BATCH)]
    return torch.tensor(np.stack(images))


def k_run(name, schedule, steps):
    model = k_model()
    sigmas = k_sigmas(model, schedule, steps)
    draws = iter(range(1, steps + 1))
    extra = {"noise_sampler": lambda sigma, sigma_next: noise(next(draws))} if name == "Euler a" else {}
    return SAMPLERS[name](model, noise(0) * sigmas[0], sigmas, disable=True, **extra)


def ddim_run(steps):
    """As the webui: timesteps from the list's end; its first entry is only stepped to. (1 step: evaluated, not left out.)"""
    timesteps, alphas, x = ddim_timesteps(steps).tolist(), alphas_cumprod().double(), noise(0).double()
    for index in range(len(timesteps) - 1, 0 if len(timesteps) > 1 else -1, -1):
        alpha, previous = alphas[timesteps[index]], alphas[timesteps[index - 1] if index else 0]
        eps = predicted_noise(x, torch.full([BATCH], timesteps[index]))
        image = (x - (1 - alpha).sqrt() * eps) / alpha.sqrt()
        x = previous.sqrt() * image + (1 - previous).sqrt() * eps
    return x


def check_ddim(steps):
    """diffusers' DDIM, without its last step, is the same where steps divides 1000."""
    scheduler = DDIMScheduler(1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1,
                              timestep_spacing="leading")
    scheduler.set_timesteps(steps)
    x = noise(0).double()
    for t in scheduler.timesteps[:-1]:
        x = scheduler.step(predicted_noise(x, torch.full([BATCH], int(t))), t, x, eta=0.0).prev_sample
    error = (x - ddim_run(steps)).abs().max() / x.abs().max()
    assert error < 1e-5, f"DDIM with {steps} steps: off diffusers by {error}"


def run_goldens():
    runs = []
    for name in SAMPLERS:
        for schedule in ["Uniform", "Karras"]:
            for steps in STEPS:
                runs.append({"sampler": name, "schedule": schedule, "steps": steps, "latent": floats(k_run(name, schedule, steps))})
    for steps in [1] + STEPS + [30]:
        runs.append({"sampler": "DDIM", "schedule": "Automatic", "steps": steps, "latent": floats(ddim_run(steps))})
    return {"seed": SEED, "shape": [BATCH, CHANNELS, HEIGHT, WIDTH], "runs": runs}


def main():
    default = pathlib.Path(__file__).resolve().parent.parent / "data" / "sample"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    for steps in [10, 20]:
        check_ddim(steps)
    for name, make in {"random": random_goldens, "schedules": schedule_goldens, "runs": run_goldens}.items():
        (folder / f"{name}.json").write_text(json.dumps(make(), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
