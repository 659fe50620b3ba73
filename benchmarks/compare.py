#!/usr/bin/env python3
"""libunetdump and its peers on the same work: ./run compare [--quick] [--rounds N] [--peers LIST] [--rows LIST] [--out FOLDER] [...]

All load one checkpoint of random weights (build/benchmark_random_model), use the same number of threads and are given the same ids, noise and times. Every
peer's results are first compared with PyTorch's in fp32: what does not agree is not timed. Then peers take turns, a process a turn, so that one at a time
uses memory and the machine's mood falls on all of them. OUT/compare.json has every sample, OUT/compare.md the table of medians.

rows    load, text, memory; step-SIDE-bBATCH and decode-SIDE; features-SIDE, cross-SIDE, diff-SIDE: a step whose blocks' outputs, cross-attention's
        maps or differences are all captured, rendered and written as PNG; render-SIDE, write-SIDE: IN01's channels to a canvas, and that to a file
peers   ours, pytorch-fp32, pytorch-fp32-last (channels-last), pytorch-fp32-last-compile, the same with bf16, openvino-fp32, openvino-bf16, sdcpp
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PROMPT, CFG, NAMES, PICTURES = "a red circle on a blue background", 7.0, "features cross diff".split(), ["render", "write"]
PEERS = "ours,pytorch-fp32,pytorch-fp32-last,pytorch-fp32-last-compile,openvino-fp32,sdcpp"
ROWS = ("load,text,memory,step-256-b2,step-512-b1,step-512-b2,step-512-b8,step-768-b2,decode-512,features-512,cross-512,diff-512,render-512,write-512")
# Least cosine against PyTorch's fp32. fp32: another order of sums (1e-7 a sum, some hundred in a row). bf16: 8 bits of mantissa in every activation.
# openvino: its fp16 file rounds the frequencies of the time embedding as well as the weights, which were fp16 before (PyTorch with those rounded has the
# same cosine to 9 digits: 0.999977 at 512 pixels). sdcpp: fp16 weights times fp16 activations.
AGREE = {"fp32": 0.99999, "openvino-fp32": 0.9999, "bf16": 0.98, "sdcpp": 0.98}
AGREE_PICTURE = 0.9999  # of 8 bits


def precision_of(peer):
    return "fp32" if peer == "ours" else peer if peer == "sdcpp" else peer.split("-")[1]


def least(kind, peer):
    """The cosine that is asked for."""
    of_bytes = kind == "render" or (kind == "decode" and peer == "ours")
    return AGREE_PICTURE if of_bytes else AGREE.get(peer, AGREE[precision_of(peer)])


def run(command, **kwargs):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT, **kwargs)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def cosine(a, b):
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def alike(picture, expected):
    """The cosine of what is not their mean."""
    picture = np.asarray(picture.convert("RGB"), np.float64)
    return cosine(picture - picture.mean(), expected - np.mean(expected))


def token_ids(build, text):
    ids = [int(line.split()[1]) for line in run([f"{build}/unetdump", "tokens", text]).splitlines()] if text else []
    return [49406] + ids + [49407] * (76 - len(ids))


def layer_prompts(text):
    """As benchmark_bench --prompts 1 writes them: the prompt with "0" after it in all blocks."""
    return f"{text} (~: IN00-OUT11: 0 :~)"


class Case:
    """A size and a batch: what is given, what must come out, which rows are timed."""

    def __init__(self, arguments, side, batch, rows):
        self.arguments, self.side, self.batch, self.rows = arguments, side, batch, rows
        self.folder = Path(arguments.out) / f"{side}-b{batch}"
        (self.folder / "written").mkdir(parents=True, exist_ok=True)

    def prepare(self):
        noise = np.random.default_rng(1).standard_normal((max(self.batch // 2, 1), 4, self.side // 8, self.side // 8), np.float32)
        np.save(self.folder / "noise.npy", noise)
        self.looks = any(row in NAMES + PICTURES for row in self.rows)
        manifest = self.run_ours("ours", PROMPT, ["--attention", ""] if self.looks else [])
        texts = {"prompt": PROMPT, "other": PROMPT + " 0", "negative": ""}
        given = {**{key: token_ids(self.arguments.build, text) for key, text in texts.items()}, "cfg": CFG, "threads": self.arguments.threads,
                 "noise": str(self.folder / "noise.npy"), "sigma": manifest["sigma"], "timestep": manifest["timestep"], **({"looking": 1} if self.looks else {})}
        (self.folder / "given.json").write_text(json.dumps(given))
        run([self.arguments.python, HERE / "peers/reference.py", self.arguments.model, self.side, self.batch, self.folder / "given.json", self.folder])
        self.reference = dict(np.load(self.folder / "reference.npz"))

    def run_ours(self, name, prompt, more):
        """One step to sigma 0, all blocks' values; the manifest's entry of the first."""
        out = self.folder / name
        run([f"{self.arguments.build}/unetdump", "generate", "-q", "-m", self.arguments.model, "-p", prompt, "-o", out, "--width", self.side, "--height", self.side, "--steps", 1,
             "--sampler", "Euler", "--cfg", CFG if self.batch > 1 else 1, "--noise", self.folder / "noise.npy", "--batch-size", max(self.batch // 2, 1),
             "--threads", self.arguments.threads, "--features", "", "--dump", "npy", "--no-canvas", *more])
        return next(f for f in json.loads((out / "manifest.json").read_text())["files"] if "sigma" in f)

    def check_ours(self):
        """Least cosine of the blocks' outputs, of cross-attention's maps and of differences, and that of the picture."""
        found = {}
        if self.looks:
            self.run_ours("ours-diff", layer_prompts(PROMPT), ["--diff", ""])
            found = {"features": [], "cross": [], "diff": []}
            for key, expected in self.reference.items():
                kind, _, name = key.partition(" ")
                if kind == "features":
                    found[kind].append(cosine(np.load(self.folder / f"ours/000-unet-{name}-001.npy"), expected))
                if kind == "diff" and np.abs(expected).max() > 0: # IN00 does not see the prompt
                    found[kind].append(cosine(np.load(self.folder / f"ours-diff/000-diff-{name}-001.npy"), expected))
            maps = [v for k, v in self.reference.items() if k.startswith("cross ")]  # in the order of blocks, as are the files but for M00
            files = sorted(self.folder.glob("ours/000-attn-*-qk.npy"), key=lambda f: ("IN", "M0", "OU").index(f.name[9:11]) * 100 + int(re.search(r"\d\d", f.name[9:]).group()))
            order = [k for k in self.reference if k.startswith("cross ")]
            order.sort(key=lambda k: ("down", "mid_", "up_b").index(k[6:10]))
            for file, key in zip(files, order):
                ours = np.load(file)  # [heads, tokens, h, w]
                found["cross"].append(cosine(ours, self.reference[key].transpose(0, 2, 1).reshape(ours.shape)))
            assert len(found["cross"]) == len(maps) == len(files)
        if "render" in self.reference:
            run([f"{self.arguments.build}/unetdump", "render", self.folder / "ours/000-unet-IN01-001.npy", "-o", self.folder / "ours-IN01.png"])
            found["render"] = [alike(Image.open(self.folder / "ours-IN01.png"), self.reference["render"])]
        if "decode" in self.reference:
            found["decode"] = [alike(Image.open(self.folder / "ours/000.png"), np.clip((self.reference["decode"][0].transpose(1, 2, 0) + 1) * 127.5, 0, 255))]
        return {kind: min(values) for kind, values in found.items()}

    def check_peer(self, peer, out):
        pairs = [(key, value) for key, value in np.load(out).items()]
        found = {}
        for key, value in pairs:
            if np.abs(self.reference[key]).max() > 0:
                kind = key.split()[0]
                found[kind] = min(found.get(kind, 1.0), cosine(value, self.reference[key]))
        return found

    def turn(self, peer):
        """A process's samples: {row: [seconds]}, its peak memory, and how its results agree."""
        if peer == "ours":
            return self.turn_ours()
        rows = [row for row in self.rows if row not in NAMES + PICTURES or peer.startswith("pytorch") and "compile" not in peer]
        if peer == "sdcpp":
            return self.turn_sdcpp()
        out = self.folder / f"{peer}.npz"
        answer = json.loads(run([self.arguments.python, HERE / "peers/worker.py", peer, self.arguments.model, self.arguments.threads, self.side, self.batch,
                                 self.arguments.samples, ",".join(rows), self.arguments.clock, self.folder / "given.npz", out]).splitlines()[-1])
        return answer["seconds"], answer["peak_bytes"], self.check_peer(peer, out)

    def turn_ours(self):
        names = {"features": "features written", "cross": "cross written", "diff": "diff written"}
        rows = ",".join(names.get(row, row) for row in ["load"] + [r for r in self.rows if r not in ("load", "memory")])
        out = self.folder / "ours.json"
        run([f"{self.arguments.build}/benchmark_bench", "--model", self.arguments.model, "--side", self.side, "--batch", self.batch, "--steps", self.arguments.samples + 1, "--repeat", 1,
             "--threads", self.arguments.threads, "--rows", rows, "--clock", self.arguments.clock, "--prompts", 1, "--written", self.folder / "written", "--json", out])
        answer = json.loads(out.read_text())
        back = {value: key for key, value in names.items()}
        return {back.get(r["name"], r["name"]): r["seconds"] for r in answer["rows"]}, answer["peak_rss_bytes"], self.check_ours_once()

    def check_ours_once(self):
        if not hasattr(self, "ours_agree"):
            self.ours_agree = self.check_ours()
        return self.ours_agree

    def turn_sdcpp(self):
        """It draws its own noise, that of seed 1 as the webui does on NVIDIA's cards, and so do we to compare with it: its picture after one step."""
        out, single = self.folder / "sdcpp.json", Path(self.arguments.model + ".safetensors")
        if not single.exists():
            run([self.arguments.python, ROOT / "tools/ldm_from_diffusers.py", self.arguments.model, single])
        run([self.arguments.python, HERE / "peers/sdcpp.py", single, self.arguments.threads, self.side, self.arguments.samples, PROMPT, CFG, out])
        if not hasattr(self, "ours_sdcpp"):
            run([f"{self.arguments.build}/unetdump", "generate", "-q", "-m", self.arguments.model, "-p", PROMPT, "-o", self.folder / "ours-sdcpp", "--width", self.side,
                 "--height", self.side, "--steps", 1, "--sampler", "Euler", "--cfg", CFG, "--seed", 1, "--rng", "nv", "--threads", self.arguments.threads])
            self.ours_sdcpp = np.asarray(Image.open(self.folder / "ours-sdcpp/000.png"), np.float64)
        answer = json.loads(out.read_text())
        return answer["seconds"], answer["peak_bytes"], {"decode": alike(Image.open(out.with_suffix(".png")), self.ours_sdcpp)}


def cases_of(arguments):
    """{(side, batch): rows}: everything but other sizes' steps is timed in one process."""
    cases = {}
    for row in arguments.rows.split(","):
        kind, *rest = row.split("-")
        side = int(rest[0]) if rest else arguments.side
        batch = int(rest[1][1:]) if len(rest) > 1 else 2
        cases.setdefault((side, batch), []).append(kind)
    return [Case(arguments, side, batch, rows) for (side, batch), rows in cases.items()]


def row_name(kind, case):
    return f"step-{case.side}-b{case.batch}" if kind == "step" else f"{kind}-{case.side}" if kind in ("decode", *NAMES, *PICTURES) else kind


def measure(arguments):
    samples, agree, refused = {}, {}, {}
    for case in cases_of(arguments):
        case.prepare()
        for turn in range(arguments.rounds):
            for peer in arguments.peers.split(","):
                if peer == "sdcpp" and (arguments.clock == "cpu" or case.batch != 2 or set(case.rows) <= {*NAMES, *PICTURES}) or peer in refused:
                    continue
                print(f"{case.side} px, batch {case.batch}, round {turn + 1}: {peer}", file=sys.stderr, flush=True)
                try:
                    seconds, peak, found = case.turn(peer)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    refused[peer] = str(error)
                    print(error, file=sys.stderr)
                    continue
                agree.setdefault(peer, {}).update({row_name(kind, case): value for kind, value in found.items()})
                if "bf16" in peer:
                    found.pop("diff", None)  # of two nearly equal values: their 8 bits are gone; the values themselves are checked
                bad = {kind: value for kind, value in found.items() if not value >= least(kind, peer)}
                if bad:
                    refused[peer] = f"does not agree with PyTorch's fp32: cosine {bad}"
                    print(peer, refused[peer], file=sys.stderr)
                    continue
                for kind in case.rows:
                    if kind in seconds:
                        samples.setdefault(row_name(kind, case), {}).setdefault(peer, []).extend(seconds[kind])
                if "memory" in case.rows:
                    samples.setdefault("memory", {}).setdefault(peer, []).append(peak)
    return {"threads": arguments.threads, "clock": arguments.clock, "cpu": cpu(), "model": Path(arguments.model).name, "samples": samples, "cosine": agree, "refused": refused}


def cpu():
    text = Path("/proc/cpuinfo").read_text()
    flags = re.search(r"flags\s*: (.*)", text).group(1).split()
    best = next((name for name in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if name in flags), "none of AVX2 and up")
    return f"{re.search(r'model name.*: (.*)', text).group(1)}, {best}"


def shown(row, values):
    middle = statistics.median(values)
    low, high = min(values), max(values)
    if row == "memory":
        return f"{middle / 1e9:.2f} GB"
    unit, scale = ("ms", 1e3) if middle < 1 else ("s", 1)
    return f"{middle * scale:.3g} {unit} ({low * scale:.3g}-{high * scale:.3g})"


def table(results):
    """Medians, and in brackets least and most; the last column: the best peer's median over ours."""
    peers = [p for p in dict.fromkeys(p for row in results["samples"].values() for p in row)]
    lines = ["| | " + " | ".join(peers) + " | best peer / ours |", "| --- |" + " --- |" * (len(peers) + 1)]
    for row, by_peer in results["samples"].items():
        cells = [shown(row, by_peer[p]) if p in by_peer else "" for p in peers]
        others = [statistics.median(v) for p, v in by_peer.items() if p != "ours" and precision_of(p) != "bf16"]
        ratio = f"{min(others) / statistics.median(by_peer['ours']):.2f}" if others and "ours" in by_peer else ""
        lines.append(f"| {row} | " + " | ".join(cells) + f" | {ratio} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a diffusers folder; else one of random weights is made in build/")
    parser.add_argument("--build", default="build", help="where ours is built")
    parser.add_argument("--out", default="build/compare")
    parser.add_argument("--python", default=sys.executable, help="of the environment with the peers")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=2, help="of a row in each round")
    parser.add_argument("--peers", default=PEERS)
    parser.add_argument("--side", type=int, default=512, help="of load, text and memory")
    parser.add_argument("--rows")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="cpu: processor seconds of all threads, where other programs run beside")
    parser.add_argument("--quick", action="store_true", help="a tiny model: does the harness work? The numbers say nothing")
    arguments = parser.parse_args()
    size = "tiny" if arguments.quick else "full"
    arguments.side = 64 if arguments.quick else arguments.side
    if arguments.quick:
        arguments.peers = arguments.peers.replace(",sdcpp", "")  # which knows Stable Diffusion's own sizes alone
    arguments.rows = arguments.rows or (re.sub("256|768|512", "64", ROWS) if arguments.quick else ROWS)
    if arguments.quick:
        arguments.rows = ",".join(dict.fromkeys(arguments.rows.split(",")))
    if not arguments.model:
        arguments.model = f"build/random-{size}"
        if not (ROOT / arguments.model / "vae").exists():
            run([f"{arguments.build}/benchmark_random_model", arguments.model, "f16", size])
    arguments.out = str((ROOT / arguments.out).absolute())
    if arguments.clock == "cpu":
        os.environ["OMP_WAIT_POLICY"] = "passive"  # waiting threads' spinning is no work
    arguments.model = str((ROOT / arguments.model).absolute())
    results = measure(arguments)
    Path(arguments.out, "compare.json").write_text(json.dumps(results, indent=1))
    Path(arguments.out, "compare.md").write_text(table(results))
    print(table(results))
    for peer, why in results["refused"].items():
        print(f"not timed: {peer}: {why}")
    return 1 if results["refused"] else 0


if __name__ == "__main__":
    sys.exit(main())
