"""stable-diffusion.cpp by its Python binding: a whole run of a few steps, its own log's times. sdcpp.py FILE THREADS SIDE SAMPLES PROMPT CFG OUT.json

The picture after one Euler step from the noise of seed 1, which is torch's on CUDA as it is in ours, goes beside OUT.json. Steps are told one by one by its
callback; text and decoding it prints. A single file in the original layout is what it reads.
"""
import json
import os
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # not this folder, whose files have the names of what they wrap


def main():
    path, threads, side, samples, prompt, cfg, out = sys.argv[1:]
    side, samples, out = int(side), int(samples), Path(out)
    from stable_diffusion_cpp import StableDiffusion

    said = tempfile.TemporaryFile("w+")
    for number in (1, 2):
        os.dup2(said.fileno(), number)  # the library prints where it likes
    begin = time.perf_counter()
    peer = StableDiffusion(model_path=path, n_threads=int(threads), vae_decode_only=True, rng_type="cuda", verbose=True)
    seconds = {"load": [time.perf_counter() - begin]}
    more = {"prompt": prompt, "width": side, "height": side, "cfg_scale": float(cfg), "sample_method": "euler", "scheduler": "discrete", "seed": 1}
    peer.generate_image(sample_steps=1, **more)[0].save(out.with_suffix(".png"))
    moments = []
    peer.generate_image(sample_steps=samples + 1, progress_callback=lambda *_: moments.append(time.perf_counter()), **more)
    moments = moments[-samples - 1:]
    seconds["step"] = [after - before for before, after in zip(moments, moments[1:])]
    said.seek(0)
    log = said.read()
    scale = {"ms": 1e-3, "s": 1.0}
    for row, what in (("text", "get_learned_condition completed"), ("decode", "decode_first_stage completed")):
        seconds[row] = [float(number) * scale[unit] for number, unit in re.findall(what + r",? taking:? *([\d.]+) ?(ms|s)", log)]
    seconds["text"] = [number / 2 for number in seconds["text"]]  # the prompt and the negative prompt
    out.with_suffix(".log").write_text(log)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    out.write_text(json.dumps({"seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
