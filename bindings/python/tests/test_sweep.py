"""Sweeps from Python: the same folder as the command's, results as objects, Ctrl-C, and what --engine ray makes of the command's options."""

import csv
import filecmp
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import unetdump
from conftest import DEMO, ROOT, start
from unetdump import sweep_command, sweep_ray
from unetdump.loading import Source

PROMPT = "a red circle on a blue background"
SMALL: dict[str, Any] = {"width": 64, "height": 64, "steps": 2, "cfg": 3.5, "batch_size": 4, "blocks": ["IN01-IN02", "OUT06-OUT08", "M00"]}
GREEN: dict[str, Any] = {**SMALL, "replace": {"red": "green"}, "seeds": [1, 2]}
PROGRAM = Path(unetdump.__file__).parent / "_native" / "bin" / "unetdump"
COMMAND: list[str | Path] = [PROGRAM, "sweep", "-q", "-m", DEMO, "-p", PROMPT, "--threads", "1", "--width", "64", "--height", "64"]
COMMAND += ["--steps", "2", "--cfg", "3.5", "--batch-size", "4", "--replace", "red=green", "--blocks", "IN01-IN02;OUT06-OUT08;M00", "--seeds", "1,2"]


def same_folders(a: Path, b: Path) -> None:
    names = sorted(str(path.relative_to(a)) for path in a.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(b)) for path in b.rglob("*") if path.is_file())
    assert filecmp.cmpfiles(a, b, names, shallow=False) == (names, [], [])


@pytest.fixture(scope="session")
def by_command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sweep") / "command"
    subprocess.run([*COMMAND, "-o", out], check=True, capture_output=True)
    return out


@pytest.fixture(scope="session")
def swept(model: unetdump.Model, tmp_path_factory: pytest.TempPathFactory) -> unetdump.SweepResult:
    return model.sweep(PROMPT, output=tmp_path_factory.mktemp("sweep") / "python", **GREEN)


def test_same_folder_as_the_command(swept: unetdump.SweepResult, by_command: Path, tmp_path: Path) -> None:
    same_folders(by_command, swept.folder)
    again = unetdump.sweep(DEMO, PROMPT, output=tmp_path / "path", threads=1, **GREEN)  # from a path, and with more seeds than were there
    same_folders(by_command, again.folder)


def test_results_are_those_of_the_table(swept: unetdump.SweepResult) -> None:
    assert (len(swept.cells), swept.missing, swept.variants) == (8, 0, ["a green circle on a blue background"])
    with (swept.folder / "sweep.csv").open() as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    for cell in swept.cells:
        assert cell.there and cell.image.size == (64, 64) and cell.latent.shape == (4, 8, 8)
        if cell.is_base:
            assert (cell.measure, cell.blocks, cell.prompt) == (None, "", PROMPT)
            continue
        row, measure = rows[cell.key], cell.measure
        assert measure and (row["blocks"], row["variant"], int(row["seed"])) == (cell.blocks, cell.variant, cell.seed)
        assert float(row["picture_l2"]) == pytest.approx(measure.picture.l2, rel=1e-5)  # as many digits as the file has
        assert float(row["latent_cosine"]) == pytest.approx(measure.latent.cosine, rel=1e-5)
        own, base = (np.asarray(at.image, np.float64) / 255 for at in (cell, swept.cell(seed=cell.seed)))
        assert measure.picture.l2 == pytest.approx(np.linalg.norm(own - base)) and measure.picture.max == pytest.approx(abs(own - base).max())
    assert [rank.cells for rank in swept.ranking] == [2, 2, 2]
    means = [rank.mean.picture.relative_l2 for rank in swept.ranking]
    assert means == sorted(means, reverse=True) and swept.ranking_of(swept.variants[0]) == swept.ranking
    with pytest.raises(LookupError, match="no cell of 'OUT03'"):
        swept.cell("OUT03")
    gathered = unetdump.collect_sweep(swept.folder)
    assert gathered.cells == swept.cells and gathered.ranking == swept.ranking


def test_outputs_and_notebook_forms(model: unetdump.Model, swept: unetdump.SweepResult, tmp_path: Path) -> None:
    assert swept.sheet.size[0] > 4 * 64 and "OUT06-OUT08" in swept._repr_html_() and "8 cells, 0 missing" in swept._repr_html_()
    assert swept.cells[0]._repr_png_()[:4] == b"\x89PNG" and str(swept.cells[1]).startswith("IN01-IN02: a green circle")
    looked = model.sweep(PROMPT, output=tmp_path, **SMALL, variants="a square", seed=1, diff="M00,OUT11", side="both")
    outputs = looked.cell("OUT06-OUT08").outputs()
    assert list(outputs) == ["M00", "OUT11"] and list(outputs["OUT11"]) == [1, 2]
    assert outputs["M00"][1].l2 == 0 < outputs["OUT11"][1].l2  # another prompt from OUT06 on: the first step's blocks before it see nothing of it
    assert set(looked.cell("M00").outputs("uncond")) == {"M00", "OUT11"}


def test_cells_come_as_they_are_made_and_leaving_early_goes_on(model: unetdump.Model, swept: unetdump.SweepResult, tmp_path: Path) -> None:
    told: list[unetdump.SweepProgress] = []
    for cell in unetdump.Sweep(model, PROMPT, output=tmp_path / "out", progress=told.append, **GREEN):
        assert cell.there and cell.seed == 1
        break
    assert (told[-1].cells, told[-1].cells_done) == (8, 4) and (1, 2) in {(p.step, p.steps) for p in told}
    assert unetdump.collect_sweep(tmp_path / "out").missing == 4
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").iterdir()}
    cells = list(unetdump.Sweep(model, PROMPT, output=tmp_path / "out", **GREEN))
    assert [cell.key for cell in cells] == [cell.key for cell in swept.cells]
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    unetdump.collect_sweep(tmp_path / "out")
    same_folders(swept.folder, tmp_path / "out")


def test_loras_and_weights(tmp_path: Path) -> None:
    lora = unetdump.Lora(ROOT / "tests" / "parity" / "goldens" / "lora-kohya.safetensors", 0.5)
    options: dict[str, Any] = {**SMALL, "blocks": ["IN01", "OUT05"]}
    result = unetdump.sweep(DEMO, PROMPT, output=tmp_path, threads=1, loras=[lora], lora_weights=[0.5, 1], seed=3, **options)
    assert [(cell.blocks, cell.lora_weight) for cell in result.cells] == [("", 0), ("IN01", 0.5), ("OUT05", 0.5), ("IN01", 1), ("OUT05", 1)]
    weak, strong = (result.cell("OUT05", lora_weight=weight).measure for weight in (0.5, 1))
    assert weak and strong and weak.latent.l2 < strong.latent.l2 and result.variants == []


def test_what_is_wrong_is_refused(model: unetdump.Model, tmp_path: Path) -> None:
    def refused(error: type[Exception], words: str, **options: Any) -> None:
        with pytest.raises(error, match=words):
            unetdump.Sweep(options.pop("model", model), PROMPT, output=tmp_path / "none", **{**GREEN, **options})
        assert not (tmp_path / "none").exists()

    refused(unetdump.ArgumentError, "replace: expected a part of the prompt, found 'purple'", replace={"purple": "green"})
    refused(unetdump.NotationError, "IN77", blocks="IN77")
    refused(unetdump.ArgumentError, "nothing varies", replace={})
    refused(unetdump.ArgumentError, "engine: expected local or ray", engine="dask")
    refused(TypeError, "needs engine='ray'", workers=2)
    refused(TypeError, "the model is loaded already", device="cpu")
    refused(TypeError, "one of the two", seed=1)
    refused(TypeError, "no such option: features", features="OUT11")
    refused(unetdump.FileError, "nowhere", model="/nowhere")
    cancel = unetdump.Cancel()
    cancel.set()
    with pytest.raises(unetdump.CancelledError):
        model.sweep(PROMPT, output=tmp_path, cancel=cancel, **GREEN)

    def fail(_: unetdump.SweepProgress) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        model.sweep(PROMPT, output=tmp_path, progress=fail, **GREEN)


def test_ctrl_c_between_steps_and_on_again(by_command: Path, tmp_path: Path) -> None:
    code = f"""
import sys, unetdump
def told(p): print(p.cells_done, p.step, flush=True)
options = dict({GREEN!r}, steps=int(sys.argv[1]), threads=1, output=sys.argv[2], progress=told)
try: unetdump.sweep({str(DEMO)!r}, {PROMPT!r}, **options)
except KeyboardInterrupt: print("interrupted", flush=True)
"""
    out = tmp_path / "out"
    child = start(code, "200", str(out))
    assert child.stdout
    while child.stdout.readline().split() != ["4", "2"]:  # in the second batch
        assert child.poll() is None
    os.kill(child.pid, signal.SIGINT)
    assert child.stdout.read().endswith("interrupted\n") and child.wait() == 0
    assert not list(out.rglob("*.partial*")) and unetdump.collect_sweep(out).missing == 4
    # With its own options another call goes on: here those of another sweep in the same folder, whose keys are others.
    subprocess.run([sys.executable, "-c", code, "2", str(out)], check=True, capture_output=True)
    assert unetdump.collect_sweep(out).missing == 0
    for path in (by_command / "cells").iterdir():
        assert path.read_bytes() == (out / "cells" / path.name).read_bytes()


# ---- what goes before Ray


def test_without_ray(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['ray'] = None; from unetdump.command import main; sys.exit(main())"
    arguments = ["sweep", "-m", "m", "-p", "a red circle", "--replace", "red=green", "-o", str(tmp_path / "out"), "--engine", "ray"]
    found = subprocess.run([sys.executable, "-c", hidden, *arguments], check=False, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (2, "unetdump: engine ray needs Ray: pip install 'unetdump[ray]'\n")
    assert not (tmp_path / "out").exists()


def test_interrupted_it_ends_by_the_signal(tmp_path: Path) -> None:
    """A shell's loop, or a script, ends then too; after a plain exit status it would go on."""
    code = """
import sys
from unetdump import sweep_command
def interrupt(**options): raise KeyboardInterrupt
sweep_command.Sweep = interrupt
sweep_command.sweep_by_ray(sys.argv[1:])
"""
    arguments = ["-m", "m", "-p", "a red circle", "--replace", "red=green", "-o", str(tmp_path / "out"), "--engine", "ray"]
    found = subprocess.run([sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (-signal.SIGINT, "unetdump: cancelled\n")


def test_every_option_of_the_c_command_is_known() -> None:
    said = subprocess.run([PROGRAM, "sweep", "--help"], check=True, capture_output=True, text=True).stdout
    assert set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", said, re.MULTILINE)) == sweep_command.OPTIONS
    assert {line[0]: line[1] for line in re.findall(r"^  (-\w), (--[a-z-]+)", said, re.MULTILINE)} == sweep_command._SHORT


def options_of(*arguments: str) -> dict[str, Any]:
    given = sweep_command._read(["-m", "M", "-p", PROMPT, "-o", "out", "--engine", "ray", *arguments])
    return sweep_command._options_of(given)


def test_options_mean_what_the_c_command_makes_of_them(tmp_path: Path) -> None:
    assert sweep_command.asks_for_ray(["-m", "M", "--engine", "ray"]) and sweep_command.asks_for_ray(["--engine=ray"])
    assert not sweep_command.asks_for_ray(["--engine", "local", "-p", "ray"]) and not sweep_command.asks_for_ray(["--engine=ray", "-h"])
    plain = options_of()
    assert plain == {"model": "M", "prompt": PROMPT, "output": "out", "engine": "ray", "progress": False}
    lists = options_of("--blocks=IN01-IN02; M00 ;", "--seeds", "1,3-5", "--replace", "red=a=b", "--lora-weights", "0.5,1", "--lora", "x")
    assert (lists["blocks"], lists["seeds"], lists["replace"]) == (["IN01-IN02", "M00"], [1, 3, 4, 5], [("red", "a=b")])
    assert lists["lora_weights"] == [0.5, 1.0] and options_of("--scheduler", "Karras")["schedule"] == "Karras"
    loras = options_of("--lora", "a:b.safetensors:0.8:IN04=0.5,TE=0", "--lora", "c:d", "--lora", "e:1")["loras"]
    assert loras == [unetdump.Lora("a:b.safetensors", 0.8, "IN04=0.5,TE=0"), unetdump.Lora("c:d"), unetdump.Lora("e", 1.0)]
    unetdump.write_png(tmp_path / "init.png", Image.new("RGB", (70, 40)))
    assert [options_of("--init", str(tmp_path / "init.png"))[side] for side in ("width", "height")] == [64, 40]
    assert options_of("--init", str(tmp_path / "init.png"), "--width", "64")["init"].size == (64, 512)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "x"], "--steps: expected a whole number, found 'x'"),
        (["--colour", "red"], "unknown option '--colour'"),
        (["red"], "unexpected argument 'red'"),
        (["--cfg", "nan"], "--cfg: expected a number, found 'nan'"),
        (["--seeds", "5-2"], "--seeds: expected"),
        (["--seeds", "1,0-18446744073709551615"], "--seeds: more than 10000"),
        (["--blocks", " ; "], "--blocks: no block"),
        (["--replace", "red"], "--replace: expected OLD=NEW"),
        (["--shard", "1/2"], "--shard is not for --engine ray"),
        (["--lora-weights", "1"], "--lora-weights needs --lora"),
        (["--seed", "1", "--seeds", "2"], "--seed and --seeds"),
        (["--cfg"], "--cfg needs a value"),
    ],
)
def test_bad_options_are_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = sweep_command.sweep_by_ray(["-m", "M", "-p", PROMPT, "-o", "out", "--engine", "ray", *arguments])
    said = capsys.readouterr().err
    assert status == 2 and said.startswith("unetdump: ") and words in said and said.count("\n") == 1


def test_workers_fit_their_nodes() -> None:
    def share(nodes: list[dict[str, float]], workers: int = 0, **options: Any) -> tuple[int, dict[str, int]]:
        return sweep_ray.share_out(nodes, Source("m", options), workers)  # type: ignore[arg-type]

    sixteen, head = {"CPU": 16.0}, {"CPU": 0.0}
    assert share([head, sixteen, sixteen]) == (2, {"num_cpus": 16})
    assert share([sixteen, {"CPU": 8.0}]) == (3, {"num_cpus": 8})
    assert share([head, sixteen, sixteen], threads=4) == (8, {"num_cpus": 4})
    assert share([head, {"CPU": 32.0, "GPU": 4.0}]) == (4, {"num_gpus": 1, "num_cpus": 1})
    assert share([{"CPU": 32.0, "GPU": 4.0}], device="cpu", threads=8) == (4, {"num_cpus": 8})
    assert share([head], workers=5, threads=2) == (5, {"num_cpus": 2})
    for nodes, options in (([head], {}), ([sixteen], {"device": "cuda"}), ([sixteen], {"threads": 17}), ([sixteen], {"device": "cuda:1"})):
        with pytest.raises(unetdump.ArgumentError):
            share(nodes, **options)


def test_a_cluster_that_is_not_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = f"127.0.0.1:{taken.getsockname()[1]}"
        sweep_ray._look_for(free)
    with pytest.raises(ConnectionError, match=f"no Ray cluster at {free}: Connection refused"):
        sweep_ray._look_for(free)
    sweep_ray._look_for("auto")


def test_a_job_is_told_to_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = unetdump.Sweep("m", "a red circle", output="o", engine="ray", init=Image.new("RGB", (8, 8)), loras=["l"], vae="v", **SMALL, seed=1)
    again = pickle.loads(pickle.dumps(sweep._job))
    assert again.source == sweep._job.source and again.sampling["init"].size == (8, 8)
    absolute = again.source.absolute()
    assert (absolute.path, absolute.options["vae"]) == (str(tmp_path / "m"), str(tmp_path / "v"))
    assert absolute.options["loras"] == [unetdump.Lora(str(tmp_path / "l"))]
