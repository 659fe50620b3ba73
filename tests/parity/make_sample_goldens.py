"""Makes tests/data/sample/{random,schedules,brownian,runs}.json: what torch, torchsde, k-diffusion and diffusers compute.

What the webui alone has (its schedules beside k-diffusion's, its loops for DDIM, PLMS, UniPC and LCM) is written here from its
definitions, and checked against diffusers where that has the same.

Needs, from PyPI:
    torch==2.15.0 numpy==2.4.6 diffusers==0.42.1
    k-diffusion==0.1.1.post1 torchsde==0.2.6 torchdiffeq==0.2.5 scipy==1.17.1 trampoline==0.1.2 tqdm==4.70.1
    (pip install --no-deps k-diffusion will do: its other dependencies are not used here)

    python tests/parity/make_sample_goldens.py [OUTPUT_FOLDER]
"""
import importlib.util
import json
import math
import pathlib
import sys
import types

import numpy as np
import scipy.stats
import torch
import torchsde._brownian.brownian_interval as torchsde_interval
from diffusers import DDIMScheduler, EulerDiscreteScheduler, PNDMScheduler, UniPCMultistepScheduler


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
S = K.sampling
BROWNIAN, DISCARDS, ANCESTRAL = "Brownian noise", "discards a level", "ancestral"
SAMPLERS = {  # k-diffusion's function, what more it is called with, the webui's flags, its automatic schedule
    "Euler a": (S.sample_euler_ancestral, {}, [ANCESTRAL], "Uniform"),
    "Euler": (S.sample_euler, {}, [], "Uniform"),
    "LMS": (S.sample_lms, {}, [], "Uniform"),
    "Heun": (S.sample_heun, {}, [], "Uniform"),
    "DPM2": (S.sample_dpm_2, {}, [DISCARDS], "Karras"),
    "DPM2 a": (S.sample_dpm_2_ancestral, {}, [ANCESTRAL, DISCARDS], "Karras"),
    "DPM++ 2S a": (S.sample_dpmpp_2s_ancestral, {}, [ANCESTRAL], "Karras"),
    "DPM++ 2M": (S.sample_dpmpp_2m, {}, [], "Karras"),
    "DPM++ SDE": (S.sample_dpmpp_sde, {}, [BROWNIAN], "Karras"),
    "DPM++ 2M SDE": (S.sample_dpmpp_2m_sde, {}, [BROWNIAN], "Exponential"),
    "DPM++ 2M SDE Heun": (S.sample_dpmpp_2m_sde, {"solver_type": "heun"}, [BROWNIAN], "Exponential"),
    "DPM++ 3M SDE": (S.sample_dpmpp_3m_sde, {}, [BROWNIAN, DISCARDS], "Exponential"),
    "LCM": (None, {}, [ANCESTRAL], "Uniform"),
    "Restart": (None, {}, [ANCESTRAL], "Karras"),
    "DPM fast": (S.sample_dpm_fast, {}, [ANCESTRAL], "Uniform"),
}
WITHOUT_ETA = ["LCM", "Restart"]
SCHEDULES = ["Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal", "Simple", "Normal", "DDIM", "Beta",
             "Align Your Steps"]
ALIGNED = {  # the levels of 10 steps that its authors publish
    "SD 1.5": [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029],
    "SDXL": [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029],
}


def floats(tensor, digits=9):
    return [float(f"{value:.{digits}g}") for value in np.asarray(tensor, dtype=np.float64).ravel()]


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


class LcmModel(K.external.DiscreteEpsDDPMDenoiser):
    """LCM's 50 levels, every 20th from the last down; between them the nearest one's timestep."""

    def __init__(self):
        super().__init__(predicted_noise, alphas_cumprod()[19::20], quantize=True)
        self.timesteps = []

    def forward(self, x, sigma):
        timestep = self.sigma_to_t(sigma) * 20 + 19
        self.timesteps.append(int(timestep[0]))
        scaled = timestep.double()[:, None, None, None] * 10
        eps = predicted_noise(x / (sigma**2 + 1).sqrt()[:, None, None, None], timestep)
        denoised = x - sigma[:, None, None, None] * eps
        return (denoised * scaled / (scaled**2 + 0.25).sqrt() + x * 0.25 / (scaled**2 + 0.25)).to(x.dtype)


def by_timesteps(model, timesteps):
    """Levels at timesteps, and 0. (For LCM, timesteps count its own levels.)"""
    return torch.stack([model.t_to_sigma(t) for t in timesteps] + [torch.tensor(0.0)])


def webui_sigmas(model, name, n):
    """The webui's schedules that k-diffusion lacks."""
    smallest, largest, count = model.sigmas[0], model.sigmas[-1], len(model.sigmas)
    end = torch.zeros(1)
    if name == "SGM Uniform":
        return by_timesteps(model, torch.linspace(count - 1, 0, n + 1)[:-1])
    if name == "Normal":
        return by_timesteps(model, torch.linspace(count - 1, 0, n))
    if name == "KL Optimal":
        part = torch.arange(n + 1) / n
        return (part * smallest.atan() + (1 - part) * largest.atan()).tan()
    if name == "Simple":
        return torch.cat([model.sigmas[[count - 1 - int(i * (count / n)) for i in range(n)]], end])
    if name == "DDIM":
        return torch.cat([model.sigmas[1 :: max(count // n, 1)].flip(0), end])
    if name in ["Align Your Steps", "Align Your Steps XL"]:
        table = ALIGNED["SDXL" if name.endswith("XL") else "SD 1.5"][::-1]
        between = np.exp(np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(table)), np.log(table)))[::-1]
        levels = table[::-1] if n == len(table) else between.tolist()
        return torch.tensor(levels + [0.0], dtype=torch.float32)
    assert name == "Beta"
    quantiles = scipy.stats.beta.ppf(1 - np.linspace(0, 1, n), 0.6, 0.6)
    low, high = smallest.item(), largest.item()
    return torch.cat([torch.tensor([low + q * (high - low) for q in quantiles], dtype=torch.float32), end])


def k_sigmas(model, schedule, steps, discards=False):
    n = steps + discards
    if schedule == "Uniform":
        sigmas = by_timesteps(model, torch.linspace(len(model.sigmas) - 1, 0, n)) if isinstance(model, LcmModel) else model.get_sigmas(n)
    elif schedule in ["Karras", "Exponential", "Polyexponential"]:
        make = {"Karras": S.get_sigmas_karras, "Exponential": S.get_sigmas_exponential, "Polyexponential": S.get_sigmas_polyexponential}
        sigmas = make[schedule](n, model.sigmas[0].item(), model.sigmas[-1].item())
    else:
        sigmas = webui_sigmas(model, schedule, n)
    return torch.cat([sigmas[:-2], sigmas[-1:]]) if discards else sigmas


def check_beta(steps):
    """diffusers' schedule, between the same ends."""
    scheduler = EulerDiscreteScheduler(1000, 0.00085, 0.012, "scaled_linear", use_beta_sigmas=True, timestep_spacing="linspace")
    scheduler.set_timesteps(steps)
    error = (scheduler.sigmas / k_sigmas(k_model(), "Beta", steps) - 1)[:-1].abs().max()
    assert error < 1e-5, f"Beta with {steps} steps: off diffusers by {error}"


def ddim_timesteps(steps):
    return torch.clip(torch.asarray(list(range(0, 1000, 1000 // steps))) + 1, 0, 999)


def schedule_goldens():
    model = k_model()
    places = [0, 1, 2, 10, 100, 250, 500, 750, 998, 999]
    levels = {"places": places, "alphas_cumprod": floats(alphas_cumprod()[places]), "sigmas": floats(model.sigmas[places])}
    schedules = []
    for name in SCHEDULES + ["Align Your Steps XL"]:
        for steps in [1, 2] + STEPS + ([11] if "Align" in name else []) + [30]:
            sigmas = k_sigmas(model, name, steps)
            timesteps = model.sigma_to_t(sigmas[:-1])
            schedules.append({"name": name, "steps": steps, "sigmas": floats(sigmas), "timesteps": floats(timesteps)})
    ddim = [{"steps": steps, "timesteps": ddim_timesteps(steps).tolist()} for steps in [1, 2] + STEPS + [30]]
    return {"levels": levels, "schedules": schedules, "ddim": ddim}


# ---------------------------------------------------------------- whole runs


def noise(draw, delta=0):
    """One draw of the batch: image i from seed + i."""
    images = [philox(SEED + delta + i, draw, CHANNELS * HEIGHT * WIDTH).reshape(CHANNELS, HEIGHT, WIDTH) for i in range(BATCH)]
    return torch.tensor(np.stack(images))


def torch_randn(size, dtype, device, seed):
    return torch.randn(size, dtype=dtype, device=device, generator=torch.Generator(device).manual_seed(int(seed)))


def philox_randn(size, dtype, device, seed):
    """What the webui puts in the place of torchsde's own draws."""
    return torch.tensor(philox(int(seed), 0, math.prod(size)).reshape(size), dtype=dtype)


class CorrectRounding:
    """Within: torch's float32 log, exp, pow, sqrt, tan and atan are correctly rounded, as every build's are but for the last bit."""

    NAMES = ["log", "exp", "__pow__", "sqrt", "tan", "atan"]

    def __enter__(self):
        self.kept = {name: getattr(torch.Tensor, name) for name in self.NAMES}
        for name, function in self.kept.items():
            setattr(torch.Tensor, name, self.rounded(function))

    @staticmethod
    def rounded(function):
        return lambda x, *rest: function(x.double(), *rest).to(x.dtype) if x.is_floating_point() else function(x, *rest)

    def __exit__(self, *_):
        for name, function in self.kept.items():
            setattr(torch.Tensor, name, function)


class Recorder:
    """k-diffusion's Brownian noise; keeps which stretches of the path are asked for, as float32."""

    def __init__(self, x, sigmas):
        self.sampler = S.BrownianTreeNoiseSampler(x, sigmas[sigmas > 0].min(), sigmas.max(), seed=[SEED + i for i in range(BATCH)])
        self.times = []

    def __call__(self, sigma, sigma_next):
        self.times += [float(sigma), float(sigma_next)]
        return self.sampler(sigma, sigma_next)


def picture():
    """The stand-in for a picture's latent, the same for all images."""
    return torch.tensor(philox(99, 0, CHANNELS * HEIGHT * WIDTH).reshape(1, CHANNELS, HEIGHT, WIDTH))


def part_of(strength, steps):
    """The webui's setup_img2img_steps."""
    return int(min(strength, 0.999) * steps)


def k_run(name, schedule, steps, eta=None, s_noise=None, ensd=0, images=BATCH, strength=None):
    """Where the last bit of torch's functions moves a time on the Brownian path, or decides between two of LCM's levels that are equally
    near, the latent is that of correct rounding; torch's own goes beside it."""
    latent, times = k_latent(name, schedule, steps, eta, s_noise, ensd, strength)
    run = {"sampler": name, "schedule": schedule, "steps": steps, "eta": eta, "s_noise": s_noise, "ensd": ensd}
    run = {key: value for key, value in run.items() if value} | ({"eta": 0} if eta == 0 else {})
    run |= {"strength": strength} if strength is not None else {}
    with CorrectRounding():
        rounded, rounded_times = k_latent(name, schedule, steps, eta, s_noise, ensd, strength)
    if times != rounded_times:
        run["as_built"] = floats(latent[:images], 7)
        latent = rounded
    return run | {"latent": floats(latent[:images], 7)}


def restart_levels(sigmas):
    """Where each step begins and ends. From 20 steps on, Karras' levels between the same ends, a part of them walked again."""
    steps = len(sigmas) - 1
    if steps < 20:
        return list(zip(sigmas, sigmas[1:]))
    times, part = (2, steps // 4) if steps >= 36 else (1, 9)
    levels = S.get_sigmas_karras(steps - times * part, sigmas[-2].item(), sigmas[0].item())
    low, high = (int((levels - wanted).abs().argmin()) for wanted in (0.1, 2))
    walk = list(zip(levels, levels[1:]))
    again = S.get_sigmas_karras(part + 1, levels[low].item(), levels[high].item())[:-1]
    return walk[:low] + (list(zip(again, again[1:])) * times if high < low else []) + walk[low:]


def restart_loop(model, x, sigmas, sampler, s_noise=1):
    last = sigmas[0]
    for sigma, after in restart_levels(sigmas):
        if sigma > last:
            x = x + sampler(sigma, after) * s_noise * (sigma**2 - last**2) ** 0.5
        x = S.sample_heun(model, x, torch.stack([sigma, after]), disable=True)
        last = after
    return x


def k_latent(name, schedule, steps, eta, s_noise, ensd, strength):
    function, extra, flags, automatic = SAMPLERS[name]
    model = LcmModel() if name == "LCM" else k_model()
    sigmas = k_sigmas(model, automatic if schedule == "Automatic" else schedule, steps, DISCARDS in flags)
    draws = iter(range(0 if ensd else 1, 10000))
    all_sigmas, options = sigmas, dict(extra)
    if strength is not None:
        sigmas = sigmas[steps - part_of(strength, steps) - 1:]
    x = noise(0) * sigmas[0] + (0 if strength is None else picture())
    if ANCESTRAL in flags:
        options["noise_sampler"] = lambda sigma, sigma_next: noise(next(draws), ensd)
    if BROWNIAN in flags:
        options["noise_sampler"] = Recorder(x, all_sigmas)
    options |= {"eta": eta} if eta is not None else {}
    options |= {"s_noise": s_noise} if s_noise is not None else {}
    if name == "DPM fast":
        ends = (model.sigmas[0], model.sigmas[-1]) if strength is None else (sigmas[-2], sigmas[0])
        options = {"eta": 1} | options
        evaluations = steps if strength is None else len(sigmas) - 1
        return function(model, x, *(end.item() for end in ends), evaluations, disable=True, **options), []
    if name == "Restart":
        return restart_loop(model, x, sigmas, options["noise_sampler"], 1 if s_noise is None else s_noise), []
    latent = function(model, x, sigmas, disable=True, **options) if function else lcm_loop(model, x, sigmas, options["noise_sampler"])
    if BROWNIAN in flags:
        return latent, options["noise_sampler"].times
    return latent, model.timesteps if name == "LCM" else []


def lcm_loop(model, x, sigmas, sampler):
    for sigma, after in zip(sigmas, sigmas[1:]):
        x = model(x, sigma * torch.ones(BATCH))
        if after > 0:
            x = x + after * sampler(sigma, after)
    return x


def timestep_pairs(steps, strength=None):
    """As the webui: from the list's end; its first entry is only stepped to. (1 step: evaluated, not left out.)"""
    timesteps = ddim_timesteps(steps).tolist()
    if strength is not None:
        timesteps = timesteps[:part_of(strength, steps)]
    return list(zip(timesteps[:0:-1], timesteps[-2::-1])) if len(timesteps) > 1 else [(timesteps[0], 0)]


def ddim_step(x, eps, timestep, before, eta=0, random=0):
    alpha, previous = (alphas_cumprod().double()[t] for t in (timestep, before))
    spread = eta * ((1 - previous) / (1 - alpha)).sqrt() * (1 - alpha / previous).sqrt()
    image = (x - (1 - alpha).sqrt() * eps) / alpha.sqrt()
    return previous.sqrt() * image + (1 - previous - spread**2).sqrt() * eps + spread * random


def eps_at(x, timestep):
    return predicted_noise(x, torch.full([BATCH], float(timestep)))


def first_latent(steps, strength):
    """With a picture: at one timestep more than the first that is evaluated."""
    if strength is None:
        return noise(0).double()
    alpha = alphas_cumprod().double()[ddim_timesteps(steps)[part_of(strength, steps)]]
    return picture() * alpha.sqrt() + noise(0) * (1 - alpha).sqrt()


def ddim_run(steps, eta=0, strength=None):
    x = first_latent(steps, strength)
    for draw, (timestep, before) in enumerate(timestep_pairs(steps, strength), 1):
        x = ddim_step(x, eps_at(x, timestep), timestep, before, eta, noise(draw).double())
    return x


def plms_run(steps, strength=None):
    x, past = first_latent(steps, strength), []
    for timestep, before in timestep_pairs(steps, strength):
        eps = eps_at(x, timestep)
        past = [eps] + past[:3]
        if len(past) == 1:
            slope = (eps + eps_at(ddim_step(x, eps, timestep, before), before)) / 2
        else:
            weights = {2: [3 / 2, -1 / 2], 3: [23 / 12, -16 / 12, 5 / 12], 4: [55 / 24, -59 / 24, 37 / 24, -9 / 24]}[len(past)]
            slope = sum(w * e for w, e in zip(weights, past))
        x = ddim_step(x, slope, timestep, before)
    return x


def unipc_run(steps, strength=None):
    """diffusers' UniPC on the webui's timesteps: evenly spaced, not rounded, log alpha linear in between, the last not evaluated."""
    scheduler = UniPCMultistepScheduler(1000, 0.00085, 0.012, "scaled_linear", solver_order=3, solver_type="bh1", predict_x0=True)
    all_timesteps = ddim_timesteps(steps)
    count = len(all_timesteps) if strength is None else part_of(strength, steps)
    scheduler.set_timesteps(count)
    timesteps = np.linspace(999 if strength is None else float(all_timesteps[count - 1]), 0, count + 1)
    alphas = np.exp(np.interp(timesteps, np.arange(1000), np.log(alphas_cumprod().double().numpy())))
    scheduler.sigmas = torch.tensor(((1 - alphas) / alphas) ** 0.5)
    scheduler.timesteps = torch.arange(count)  # their own numbers: they are only looked up
    x = first_latent(steps, strength)
    for i in range(count):
        x = scheduler.step(eps_at(x, timesteps[i]), scheduler.timesteps[i], x).prev_sample
    return x


def check_timesteps(steps):
    """diffusers' DDIM and PLMS, without the last step, are the same where steps divides 1000."""
    options = dict(beta_schedule="scaled_linear", set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading")
    ddim = DDIMScheduler(1000, 0.00085, 0.012, clip_sample=False, **options)
    plms = PNDMScheduler(1000, 0.00085, 0.012, skip_prk_steps=True, **options)
    for scheduler, run in [(ddim, ddim_run), (plms, plms_run)]:
        scheduler.set_timesteps(steps)
        x = noise(0).double()
        for t in scheduler.timesteps[:-1]:
            x = scheduler.step(eps_at(x, int(t)), t, x).prev_sample
        error = (x - run(steps)).abs().max() / x.abs().max()
        assert error < 1e-5, f"{scheduler.__class__.__name__} with {steps} steps: off diffusers by {error}"
    scheduler = ddim
    scheduler.set_timesteps(steps)
    x = noise(0).double()
    for draw, t in enumerate(scheduler.timesteps[:-1], 1):
        x = scheduler.step(eps_at(x, int(t)), t, x, eta=0.7, variance_noise=noise(draw).double()).prev_sample
    error = (x - ddim_run(steps, 0.7)).abs().max() / x.abs().max()
    assert error < 1e-5, f"DDIM with eta and {steps} steps: off diffusers by {error}"


def run_goldens():
    torchsde_interval._randn = philox_randn
    runs = [k_run(name, schedule, 6, images=1) for name in SAMPLERS for schedule in SCHEDULES]
    fails_with_one_step = ["DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"]

    def fails_alone(name):
        return name in fails_with_one_step + ["DPM fast"]

    for name in SAMPLERS:
        runs += [k_run(name, "Automatic", steps) for steps in [1, 2] + STEPS if steps > 1 or name not in fails_with_one_step]
    for name, (_, _, flags, _) in SAMPLERS.items():
        if name not in WITHOUT_ETA and (ANCESTRAL in flags or BROWNIAN in flags):
            runs += [k_run(name, "Automatic", 7, eta=eta, s_noise=0.9) for eta in [0, 0.4]]
        if ANCESTRAL in flags:
            runs.append(k_run(name, "Automatic", 5, ensd=31337))
    for steps in [1, 2] + STEPS + [30]:
        runs.append({"sampler": "DDIM", "schedule": "Automatic", "steps": steps, "latent": floats(ddim_run(steps), 7)})
        runs.append({"sampler": "PLMS", "schedule": "Automatic", "steps": steps, "latent": floats(plms_run(steps), 7)})
    for eta in [0.4, 1]:
        runs.append({"sampler": "DDIM", "schedule": "Automatic", "steps": 10, "eta": eta, "latent": floats(ddim_run(10, eta), 7)})
    for steps in STEPS + [5, 30]:
        runs.append({"sampler": "UniPC", "schedule": "Automatic", "steps": steps, "latent": floats(unipc_run(steps), 7)})
    runs += [k_run("Restart", schedule, steps) for schedule, steps in [("Automatic", 36), ("Uniform", 20), ("Automatic", 50)]]
    runs.append(k_run("Restart", "Automatic", 25, s_noise=0.9))
    runs += [k_run("DPM fast", "Automatic", steps) for steps in [4, 5, 6, 7]]
    for strength in [0.75, 0.3, 0]:
        runs += [k_run(name, "Automatic", 9, strength=strength) for name in SAMPLERS if strength > 0 or not fails_alone(name)]
    runs.append(k_run("Restart", "Automatic", 30, strength=0.9))
    runs.append(k_run("Euler", "DDIM", 30, strength=0.5))
    for name, run, strengths in [("DDIM", ddim_run, [0.75, 0.3, 1]), ("PLMS", plms_run, [0.75, 0.3, 1]), ("UniPC", unipc_run, [0.75, 0.5, 1])]:
        runs += [{"sampler": name, "schedule": "Automatic", "steps": 9, "strength": strength, "latent": floats(run(9, strength=strength), 7)}
                 for strength in strengths]
    return {"seed": SEED, "shape": [BATCH, CHANNELS, HEIGHT, WIDTH], "runs": runs}


def brownian_goldens():
    """Stretches of paths as torchsde draws them from the CPU's generator, and from Philox."""
    stretches = [[14.6146412, 8.5], [8.5, 4.25], [4.25, 4.2499], [0.5, 0.25], [14.6146412, 0.0291675], [0.03, 0.0291675], [3, 9],
                 [2.500002, 2.5], [7.3219045, 7.3219], [1.1, 1.0999985]]
    cases = []
    for seed in [0, 7, 2**32 - 1, 2**32, 2**63 + 9]:
        case = {"seed": str(seed)}
        for name, randn in [("cpu", torch_randn), ("nv", philox_randn)]:
            torchsde_interval._randn = randn
            sampler = S.BrownianTreeNoiseSampler(torch.zeros(1, 2, 3, 3), 0.0291675, 14.6146412, seed=[seed])
            with CorrectRounding():
                case[name] = [floats(sampler(torch.tensor(a), torch.tensor(b))) for a, b in stretches]
        cases.append(case)
    keys = [[], [0, 0], [0, 1], [1, 1], [12345, 20], [2**32 - 1, 32], [2**33 + 5, 33]]
    seeds = [{"seed": str(seed), "key": key, "word": int(np.random.SeedSequence(seed, spawn_key=key, pool_size=24).generate_state(1)[0])}
             for seed in [0, 1, 2**32 - 1, 2**32, 2**63 + 9] for key in keys]
    return {"ends": [0.0291675, 14.6146412], "stretches": stretches, "cases": cases, "seeds": seeds}


def main():
    default = pathlib.Path(__file__).resolve().parent.parent / "data" / "sample"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    for steps in [10, 20]:
        check_timesteps(steps)
        check_beta(steps)
    for name, make in {"random": random_goldens, "schedules": schedule_goldens, "brownian": brownian_goldens, "runs": run_goldens}.items():
        (folder / f"{name}.json").write_text(json.dumps(make(), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
