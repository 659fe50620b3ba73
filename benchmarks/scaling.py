#!/usr/bin/env python3
"""What a step's cost grows with: image size, batch, blocks looked at, different prompts, threads. scaling.py [--model FOLDER] [--build build] [--draw-only]

Times by benchmark_bench, ours alone, into OUT/scaling.json; a figure each into docs/images/scaling-*.svg. Within an axis the values take turns.
"""
import argparse
import json
import os
import subprocess
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
CORES = len(os.sched_getaffinity(0))
SPECS = {0: None, 1: "OUT11", 5: "IN01,IN06,M00,OUT05,OUT11", 13: "IN00-OUT11(+2)", 25: ""}
# axis: title, label, the option, its values, the row, and the options that hold meanwhile
AXES = {
    "size": ("Image size, batch 2", "image side, pixels", "--side", [128, 256, 384, 512], "step", {}),
    "batch": ("Batch, 256 x 256", "rows of the U-Net's batch", "--batch", [1, 2, 4, 8], "step", {"--side": 256}),
    "blocks": ("Blocks looked at, 256 x 256, batch 2", "blocks captured, rendered and written each step", "--layers", list(SPECS), "features written", {"--side": 256}),
    "prompts": ("Different prompts, 256 x 256, batch 2", "different prompts in the 25 blocks", "--prompts", [1, 5, 13, 25], "layer prompts", {"--side": 256}),
    "threads": ("Threads, 256 x 256, batch 2", "threads", "--threads", sorted({1, 2, CORES // 2, CORES} - {0}), "step", {"--side": 256}),
}


def time_one(arguments, option, value, row, held):
    given = {"--side": 256, **held, option: SPECS[value] if option == "--layers" else value}
    if given.get("--layers", "") is None:  # nothing looked at: the plain step
        row, given = "step", {k: v for k, v in given.items() if k != "--layers"}
    out = ROOT / arguments.out / "one.json"
    command = [f"{arguments.build}/benchmark_bench", "--model", arguments.model, "--rows", row, "--steps", 3, "--repeat", 1, "--json", out]
    subprocess.run([str(w) for w in command + [w for pair in given.items() for w in pair]], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return next(r["seconds"] for r in json.loads(out.read_text())["rows"] if r["name"] == row)


def draw(name, samples, folder):
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "unetdump", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    title, label = AXES[name][:2]
    x = [int(value) for value in samples]
    y = [median(seconds) for seconds in samples.values()]
    figure, axes = plt.subplots(figsize=(4.4, 3.0), layout="constrained")
    axes.errorbar(x, y, [[m - min(s) for m, s in zip(y, samples.values())], [max(s) - m for m, s in zip(y, samples.values())]], marker="o", capsize=3, color="#2a6f97")
    for a, b in zip(x, y):
        axes.annotate(f"{b:.3g}", (a, b), textcoords="offset points", xytext=(0, 7), ha="center", color="#555555", fontsize=8)
    axes.set(title=title, xlabel=label, ylabel="seconds a step", xticks=x, ylim=(0, 1.18 * max(map(max, samples.values()))))
    figure.savefig(folder / f"scaling-{name}.svg", metadata={"Date": None})
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="build/random-full")
    parser.add_argument("--build", default="build")
    parser.add_argument("--out", default="build/scaling")
    parser.add_argument("--axes", default=",".join(AXES))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--draw-only", action="store_true")
    arguments = parser.parse_args()
    (ROOT / arguments.out).mkdir(parents=True, exist_ok=True)
    path = ROOT / arguments.out / "scaling.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    if not arguments.draw_only:
        for name in arguments.axes.split(","):
            _, _, option, values, row, held = AXES[name]
            found = {value: [] for value in values}
            for _ in range(arguments.rounds):
                for value in values:
                    found[value] += time_one(arguments, option, value, row, held)
            results[name] = found
            path.write_text(json.dumps(results, indent=1))
    for name, samples in json.loads(path.read_text()).items():
        draw(name, samples, ROOT / "docs/images")


if __name__ == "__main__":
    main()
