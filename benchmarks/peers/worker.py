"""One peer, one size, one process: worker.py PEER FOLDER THREADS SIDE BATCH SAMPLES ROWS CLOCK GIVEN.npz OUT.npz; prints one line of JSON.

GIVEN holds ids, latent, timestep, context and last; OUT gets what was computed from them. Every row is run once before it is timed.
"""
import importlib
import json
import resource
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # not this folder, whose files have the names of what they wrap

import numpy as np

from peers import looking


def timed(clock, work, samples, warm=True):
    seconds, result = [], work() if warm else None
    for _ in range(samples):
        begin = clock()
        result = work()
        seconds.append(clock() - begin)
    return seconds, result


def main():
    name, folder, threads, side, batch, samples, rows, clock, given_path, out_path = sys.argv[1:]
    side, batch, samples, rows = int(side), int(batch), int(samples), rows.split(",")
    clock = time.process_time if clock == "cpu" else time.perf_counter
    given = dict(np.load(given_path))
    peer = importlib.import_module("peers." + name.split("-")[0]).Peer(name, folder, int(threads), side, batch, given["context"].shape[-1])
    seconds, out = {}, {}
    seconds["load"], _ = timed(clock, peer.load, 1, warm=False)  # what a process loads once is measured once
    if "text" in rows:
        seconds["text"], out["text"] = timed(clock, lambda: peer.text(given["ids"]), 5 * samples)
    if "step" in rows:
        seconds["step"], out["step"] = timed(clock, lambda: peer.step(given["latent"], float(given["timestep"]), given["context"]), samples)
    if "decode" in rows:
        seconds["decode"], out["decode"] = timed(clock, lambda: peer.decode(given["last"]), samples)
    for row in looking.ROWS:
        if row in rows:
            look = looking.Looking(peer.unet, row, Path(out_path).parent / "written")
            seconds[row], _ = timed(clock, lambda: look.step(peer, given), samples)
            out.update(look.outputs())
            look.remove()
    if "render" in rows:
        seconds["render"], canvas = timed(clock, lambda: looking.canvas(given["tiles"]), 2 * samples)
        seconds["write"], _ = timed(clock, lambda: canvas.save(Path(out_path).parent / "written/canvas.png"), 2 * samples)
        out["render"] = np.asarray(canvas, np.float32)
    np.savez(out_path, **out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
