"""What the page works out, without Gradio and without a browser; tests/page/check_page.py uses the page itself."""

import asyncio
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import unetdump
from conftest import DEMO, ROOT
from unetdump.ui import _arguments, _loaded, main, server
from unetdump.ui.blocks import describe, spec_of, toggle, with_attention
from unetdump.ui.captured import Captured, Keeper, Point, Token
from unetdump.ui.colours import Colours, preview
from unetdump.ui.drawing import draw
from unetdump.ui.form import Form, Looks, default_steps, followed, parse_queries, small_attention
from unetdump.ui.given import keep, read
from unetdump.ui.moved import chart, last_norms
from unetdump.ui.problems import caret, line_of, show
from unetdump.ui.prompts import blocks as blocks_prompts
from unetdump.ui.prompts import problem
from unetdump.ui.runs import DONE, FAILED, STOPPED, Queue, Run, caption, new_folder
from unetdump.ui.status import duration, files, progress
from unetdump.ui.table import table
from unetdump.ui.typed import count, numbers
from unetdump.ui.viewer import parse_token, tokens, view
from unetdump.ui.visits import Visit

LORA = ROOT / "tests" / "parity" / "goldens" / "lora-kohya.safetensors"
PROMPT = "a (~: _: red; OUT06-OUT08: green :~) circle"


def names(model: unetdump.Model) -> list[str]:
    return [block.name for block in model.blocks]


def test_specs_say_what_was_chosen(model: unetdump.Model) -> None:
    every = names(model)
    rng = np.random.default_rng(1)
    for _ in range(200):
        chosen = [name for name in every if rng.random() < 0.6]
        if chosen:
            assert unetdump.parse_layers(spec_of(chosen, every), model) == chosen
    assert spec_of(["IN00", "IN01", "IN02", "M00", "OUT00"], every) == "IN00-IN02,M00,OUT00"


def test_a_click_turns_a_block_on_and_off(model: unetdump.Model) -> None:
    assert toggle("", "IN05", model) == "IN05"  # nobody had chosen: the first choice is the only one
    assert toggle("IN05", "M00", model) == "IN05,M00"
    assert toggle("IN04-IN06", "IN05", model) == "IN04,IN06"
    assert toggle("IN05", "IN05", model) == ""
    with pytest.raises(unetdump.NotationError):
        toggle("IN99", "IN05", model)


def test_blocks_are_described_as_they_are(model: unetdump.Model) -> None:
    result = model.generate("a circle", width=104, height=72, steps=1, features="")
    for block in describe(model, 104, 72):
        assert result.features[block.name][1].shape == (block.channels, block.height, block.width), block.name
    what = {block.name: block.what for block in describe(model, 128, 128)}
    assert what["IN00"] == "input convolution" and what["IN03"] == "downsampling"
    assert what["OUT05"] == "residual, attention (2 heads), upsampling" and what["M00"].startswith("residual, attention")


def test_the_drawing_has_every_block_once(model: unetdump.Model) -> None:
    drawn = ElementTree.fromstring(draw(model, 128, 128, ["IN05", "M00"]))
    boxes = {box.get("data-block"): box for box in drawn.iter("g")}
    assert sorted(str(name) for name in boxes) == sorted(names(model)) and len(list(drawn.iter("g"))) == len(names(model))
    assert sorted(name for name, box in boxes.items() if name and box.get("aria-checked") == "true") == ["IN05", "M00"]
    places = {name: box.find("rect") for name, box in boxes.items()}
    for i in range(12):  # a skip's ends are on one level
        left, right = places[f"IN{i:02}"], places[f"OUT{11 - i:02}"]
        assert left is not None and right is not None and left.get("y") == right.get("y")
    only = ElementTree.fromstring(draw(model, 128, 128, [], attention_only=True))
    able = [str(box.get("data-block")) for box in only.iter("g") if box.get("data-block")]
    assert sorted(able) == sorted(with_attention(model)) and len(list(only.iter("g"))) == len(names(model))
    rows = ElementTree.fromstring(table(model, 128, 128, ["IN05"]))
    assert [row.get("data-block") for row in rows.iter("tr") if row.get("class") == "on"] == ["IN05"]


def test_problems_have_a_line_and_a_place() -> None:
    assert caret("a\nb (~: IN99: x :~)", 9) == "b (~: IN99: x :~)\n       ^"
    with pytest.raises(unetdump.NotationError) as caught:
        unetdump.parse_prompt("a\nb (~: IN99: <i>x</i> :~)")
    shown = show(caught.value, "a\nb (~: IN99: <i>x</i> :~)")
    assert "line 2, column 7" in shown and "<i>" not in shown and "&lt;i&gt;" in shown
    with pytest.raises(unetdump.NotationError) as caught:
        unetdump.render(np.zeros((1, 1, 1)), color="rgb:w;v;v")
    assert len(line_of(caught.value)) < 160 and 'unknown name "w"' in line_of(caught.value)
    assert line_of(OSError(28, "No space left")) == "OSError: [Errno 28] No space left"


def test_colours_are_what_the_command_is_given() -> None:
    assert (Colours().color, Colours().transformed) == ("hsl:(2+v)/3;1.0;0.5", "auto01")
    assert Colours("Red/Blue", transform="Linear", clamp=(-2, 0.5)).color == "red-blue"
    assert Colours(transform="Linear", clamp=(-2, 0.5)).transformed == "linear:-2,0.5"
    assert Colours(transform="Sigmoid", sigmoid=(3, -0.1)).transformed == "sigmoid:3,-0.1"
    assert "<img" in preview(Colours())
    # The error stands in its own expression.
    for i, letter in enumerate("RGB"):
        expressions = ["v", "v**2", "1"]
        expressions[i] += "+sqrt(q)"
        shown = preview(Colours(space="RGB", expressions=(expressions[0], expressions[1], expressions[2])))
        at = expressions[i].rindex("q")
        assert f"{letter}: unknown name &quot;q&quot; at column {at + 1}:" in shown and f"{expressions[i]}\n{' ' * at}^" in shown


def test_a_semicolon_stays_in_its_expression(model: unetdump.Model) -> None:
    colours = Colours(space="RGB", expressions=("v", "v*2;v", "v"))
    shown = preview(colours)
    assert "G: an expression ends here at column 4: expected no semicolon" in shown and "v*2;v\n   ^" in shown
    with pytest.raises(unetdump.NotationError, match="G: "):
        Form(colours=colours).options(model)


def test_prompts_are_shown_by_block(model: unetdump.Model) -> None:
    shown = blocks_prompts(PROMPT, "", 20, model)
    assert "<td>IN00-OUT05</td><td>a red circle</td>" in shown and "<td>OUT06-OUT08</td><td>a  green  circle</td>" in shown
    assert "No layer prompts" in blocks_prompts("a circle", "", 20, model)
    assert "<script" not in blocks_prompts("(~: _: <script>x</script>; M00: y :~)", "", 20, model)
    assert problem(PROMPT, 20, model, negative=False) == "" and "caret" in problem("(~: x", 20, model, negative=False)


def test_a_form_is_options_and_a_command(model: unetdump.Model) -> None:
    form = Form(prompt=PROMPT, width=128, height=128, features=Looks(True, "", "10"), attention=Looks(True, " IN05 "), points=True)
    options = form.options(model)
    assert (options["features"], options["feature_steps"], options["attention"]) == ("", "10", "IN05") and "diff" not in options
    assert list(options["attention_kinds"] or ()) == ["qk", "self-map"]
    assert "self-map" not in form.command(model, ["-m", "m"]) and "--features ''" in form.command(model, ["-m", "m"])
    assert Form(prompt=PROMPT, layer_prompts=False).prompts(model)[0] == "a  circle"
    large = Form(width=512, height=512, attention=Looks(True), points=True)
    with pytest.raises(unetdump.ArgumentError, match="every point"):
        large.options(model)
    with pytest.raises(unetdump.ArgumentError, match="at least one output"):
        Form(attention=Looks(True), kinds=()).options(model)


@pytest.mark.parametrize(
    ("given", "has"),
    [
        ({"words": "circle"}, {"qk", "words"}),
        ({"words": "circle", "kinds": ("K",)}, {"k", "words"}),
        ({"words": "circle", "kinds": ()}, {"words"}),
        ({"kinds": ()}, set()),
        ({"kinds": (), "dump": "npy"}, {"self-map"}),
        ({"kinds": (), "dump": "bin"}, set()),
        ({"kinds": ("K",), "dump": "bin"}, {"k"}),
        ({"kinds": ("K",), "dump": "bin", "features": Looks(True, "M00")}, {"k"}),
        ({"attention": Looks(), "dump": "safetensors", "cfg": 3.1234567}, set()),
    ],
)
def test_the_command_writes_what_the_page_wrote(
    model: unetdump.Model, tmp_path: Path, command: Callable[..., Path], given: dict[str, Any], has: set[str]
) -> None:
    form = Form(prompt=PROMPT, width=64, height=64, steps=2, cfg=3.5, seed=3, attention=Looks(True, "IN05", "2"), points=True)
    queue, visit = Queue(model), Visit()
    run = visit.begin(replace(form, **given), model, queue, tmp_path / "runs")
    assert run.ended.wait(60) and run.state == DONE, run.failure
    queue.close()
    assert visit.form
    words = shlex.split(visit.form.command(model, ["-m", "m"]))
    folders = run.folder, command(*words[words.index("-p") :])
    mine, theirs = ({re.sub(r"-1\d{9}\.bin$", "", str(path.relative_to(folder))): path for path in folder.rglob("*")} for folder in folders)
    assert sorted(mine) == sorted(theirs)
    assert {match[1] for name in mine if (match := re.match(r"000-attn-IN05-002-([a-z-]+)\.", name))} == has
    assert all(mine[name].read_bytes() == theirs[name].read_bytes() for name in mine if name != "manifest.json" and mine[name].is_file())


def test_the_command_loads_what_the_page_loaded(tmp_path: Path, command: Callable[..., Path]) -> None:
    given = ["-m", str(DEMO), "--precision", "bf16", "--lora", f"{LORA}:0.5"]
    assert _loaded(_arguments(given)) == given
    model = unetdump.load(DEMO, threads=1, precision="bf16", loras=[unetdump.Lora(LORA, 0.5)], hash_files=True)
    queue, visit = Queue(model), Visit()
    run = visit.begin(Form(prompt=PROMPT, width=64, height=64, steps=1, seed=3), model, queue, tmp_path / "runs")
    assert run.ended.wait(60) and run.state == DONE and visit.form
    queue.close()
    words = shlex.split(visit.form.command(model, given))
    theirs = command(*words[2 : words.index("-o")], *words[words.index("-p") :]) / "000.png"
    assert (run.folder / "000.png").read_bytes() == theirs.read_bytes()
    # The page names the hashes of single files in its pictures.
    assert _loaded(_arguments(["-m", str(DEMO)])) == ["-m", str(DEMO)]
    for given in (["-m", str(LORA)], ["-m", str(DEMO), "--vae", str(LORA)]):
        assert _loaded(_arguments(given)) == [*given, "--model-hash"]


def test_steps_are_those_that_are_taken(model: unetdump.Model) -> None:
    assert [Form(steps=20, sampler=name).sampled(model) for name in ("Euler a", "DDIM", "DPM++ 2S a")] == [20, 19, 39]
    assert Form(steps=20, init=Path("any.png"), strength=0.5).sampled(model) == 11
    assert Form(steps=1001).sampled(model) == 1001  # the run will say it
    result = model.generate("a circle", width=64, height=64, steps=5, sampler="DPM++ 2S a", features="OUT11")
    assert len(result.features["OUT11"]) == model.count_evaluations(steps=5, sampler="DPM++ 2S a")


def drawn(size: tuple[int, int]) -> Image.Image:
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([columns * 255 // width, rows * 255 // height, (columns ^ rows) % 256], -1).astype(np.uint8))


def test_a_run_begins_from_a_picture(model: unetdump.Model, tmp_path: Path, command: Callable[..., Path]) -> None:
    drawn((100, 60)).save(tmp_path / "given.png")
    form = Form(prompt="a circle", width=64, height=96, steps=4, seed=3, init=tmp_path / "given.png", strength=0.6)
    form = replace(form, variation_seed=-1, variation_strength=0.3, rng="CPU", clip_skip=2)
    queue, visit = Queue(model), Visit()
    run = visit.begin(form, model, queue, tmp_path / "runs")
    assert run.ended.wait(60) and run.state == DONE and visit.form and visit.form.init and visit.form.variation_seed >= 0
    queue.close()
    with Image.open(visit.form.init) as kept:
        assert kept.size == (64, 96) and visit.form.init.parent == tmp_path / "runs" / "inputs"
    words = shlex.split(visit.form.command(model, ["-m", "m"]))
    assert {"--init", "--strength", "--variation-seed", "--variation-strength", "--rng", "--clip-skip"} < set(words)
    theirs = command(*words[words.index("-p") :])
    assert (run.folder / "000.png").read_bytes() == (theirs / "000.png").read_bytes()
    # what it was made with can be read again
    found, lost = read(theirs / "000.png")
    assert lost == ["the picture that it began from"] and found.pop("init") is None and found == {
        **{"prompt": "a circle", "negative": "", "sampler": "Euler a", "schedule": "Automatic", "steps": 4, "cfg": 7, "width": 64, "height": 96},
        **{"seed": 3, "variation_seed": visit.form.variation_seed, "variation_strength": 0.3, "clip_skip": 2, "rng": "CPU", "strength": 0.6},
    }


def test_pictures_are_kept_once(tmp_path: Path) -> None:
    picture = drawn((64, 64)).convert("RGBA")
    picture.putalpha(Image.new("L", (64, 64), 0))
    picture.save(tmp_path / "clear.png")
    drawn((64, 64)).save(tmp_path / "full.jpg", quality=95)
    clear, full = keep(tmp_path / "clear.png", 64, 64, tmp_path), keep(tmp_path / "full.jpg", 64, 64, tmp_path)
    assert keep(tmp_path / "clear.png", 64, 64, tmp_path) == clear != full
    assert np.asarray(Image.open(clear)).min() == 255  # what is transparent is white, as the command has it
    assert sorted(tmp_path.joinpath("inputs").iterdir()) == sorted([clear, full])
    (tmp_path / "no.png").write_text("no picture")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "full.jpg").read_bytes()[:400])
    for name in ("no.png", "cut.jpg", "none.png"):
        with pytest.raises(unetdump.FormatError) as caught:
            keep(tmp_path / name, 64, 64, tmp_path)
        assert line_of(caught.value) == f"{name}: not a picture that can be read"


def test_pictures_of_16_bits_are_the_commands(tmp_path: Path, command: Callable[..., Path]) -> None:
    grey = (np.arange(64 * 64) * 16 % 65536).astype(np.uint16).reshape(64, 64)
    clear = np.stack([grey >> 8, 255 - (grey >> 8)], -1).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey).save(tmp_path / "grey.tif")
    Image.fromarray(clear, "LA").save(tmp_path / "clear.png")
    kept = {name: keep(tmp_path / name, 64, 64, tmp_path) for name in ("grey.png", "grey.tif", "clear.png")}
    assert (np.asarray(Image.open(kept["grey.png"]))[..., 0] == grey >> 8).all() and kept["grey.tif"] == kept["grey.png"]
    asked = ("-p", "x", "--width", "64", "--height", "64", "--steps", "2", "--strength", "0.6", "--init")
    for name in ("grey.png", "clear.png"):
        theirs, mine = ((command(*asked, str(path)) / "000.png").read_bytes() for path in (tmp_path / name, kept[name]))
        assert mine == theirs, name


def test_a_webuis_picture_fills_the_fields(tmp_path: Path) -> None:
    path = tmp_path / "webui.png"
    steps = "Steps: 30, Sampler: DPM++ 2M Karras, CFG scale: 7.1, Seed: 18446744073709551615, Size: 64x72, Model: x"
    said = f"a <i>cat</i>\nNegative prompt: dog\n{steps}, ENSD: 31337, Hires upscale: 2, Denoising strength: 0.4"
    info = PngInfo()
    info.add_text("parameters", said)
    drawn((64, 72)).save(path, pnginfo=info)
    found, lost = read(path)
    assert (found["prompt"], found["negative"], found["cfg"], found["steps"]) == ("a <i>cat</i>", "dog", 7.1, 30)
    assert (found["sampler"], found["schedule"]) == ("DPM++ 2M", "Karras")
    assert "strength" not in found  # that strength was the upscaling's
    assert lost == ["ENSD", "Hires upscale", "Seed"] and "seed" not in found  # a browser has no such number
    # What it does not name is as the webui has it then: nothing stays of a picture that was read before.
    usual = {"clip_skip": 1, "rng": "GPU", "variation_strength": 0, "variation_seed": -1, "init": None}
    assert {name: found[name] for name in usual} == usual
    info = PngInfo()
    info.add_text("parameters", "x\nSteps: 1000, Sampler: Euler, CFG scale: 150, Seed: 1, Size: 64x8192, Clip skip: 40")
    drawn((64, 72)).save(path, pnginfo=info)
    found, lost = read(path)  # what no slider reaches
    assert lost == ["CFG scale", "Size", "Clip skip"] and found["steps"] == 1000
    assert not {"cfg", "width", "height", "clip_skip"} & set(found)
    with pytest.raises(unetdump.UnsupportedError, match="without parameters"):
        drawn((8, 8)).save(path)
        read(path)


def test_tags_of_loras_are_no_words(model: unetdump.Model, tmp_path: Path) -> None:
    tag = "<lyco:x:0.8>"
    shown = problem(f"a {tag} cat", 20, model, negative=False)
    assert "&lt;lyco:x:0.8&gt; in a prompt: the page takes LoRAs by --lora" in shown and f"a {tag} cat\n  ^".replace("<", "&lt;").replace(">", "&gt;") in shown
    with pytest.raises(unetdump.NotationError, match="takes LoRAs by --lora"):
        Visit().begin(Form(prompt=f"(~: _: red {tag} :~)"), model, Queue(model), tmp_path / "runs")
    assert not (tmp_path / "runs").exists() and problem("a <lora:> <b> cat", 20, model, negative=False) == ""
    info = PngInfo()
    info.add_text("parameters", "a cat<lora:x:0.8:0.5> on <hypernet:h:1> <lora:b>\nSteps: 4, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64")
    drawn((64, 64)).save(tmp_path / "webui.png", pnginfo=info)
    found, lost = read(tmp_path / "webui.png")
    assert (found["prompt"], lost) == ("a cat on", ["<lora:x:0.8:0.5>", "<hypernet:h:1>", "<lora:b>"])


def test_a_picture_of_loras_is_made_again(tmp_path: Path) -> None:
    loras = [unetdump.Lora.parse(text) for text in (f"{LORA}:0.8:IN05=0.5,OUT00-OUT08=0", f"{LORA}:-0.25")]
    queue, visit = Queue(unetdump.load(DEMO, threads=1, loras=loras)), Visit()
    form = Form(prompt="a circle", width=64, height=64, steps=2, cfg=3.5, seed=3)
    first = visit.begin(form, queue.model, queue, tmp_path)
    assert first.ended.wait(60) and first.state == DONE
    found, lost = read(first.folder / "000.png", loras)
    assert found["prompt"] == "a circle" and lost == []
    second = visit.begin(replace(form, **found), queue.model, queue, tmp_path)
    assert second.ended.wait(60) and (second.folder / "000.png").read_bytes() == (first.folder / "000.png").read_bytes()
    queue.close()
    assert read(first.folder / "000.png")[1] == ["<lora:lora-kohya:0.8>", "<lora:lora-kohya:-0.25>"]
    assert read(first.folder / "000.png", [loras[0], unetdump.Lora(LORA, 1)])[1] == ["<lora:lora-kohya:0.8>", "<lora:lora-kohya:-0.25>"]
    assert read(first.folder / "000.png", [unetdump.Lora(LORA, 0.8), loras[1]])[1] == ["Lora block weights"]


def test_default_attention_is_cheap(model: unetdump.Model) -> None:
    assert small_attention(model, 128, 128) == ""
    spec = small_attention(model, 512, 512)
    kept = unetdump.parse_layers(spec, model)
    sizes = {b.name: b.width * b.height for b in describe(model, 512, 512)}
    assert kept and all(sizes[name] <= 1024 for name in kept if name in with_attention(model))
    assert default_steps(20) == "10,20" and default_steps(1) == "1"


def test_specs_follow_the_number_of_steps() -> None:
    for last, spec in ((False, "10,20"), (True, "20")):
        steps, kept = (20, 1, 15, 150, 20), spec
        for before, now in pairwise(steps):
            kept = followed(kept, before, now, last=last)
        assert kept == spec
    assert followed("3,7", 20, 1, last=False) == "3,7" and followed("20", 20, 30, last=False) == "30"


def test_numbers_are_what_was_typed() -> None:
    given = {"steps": 20, "width": 64.0, "height": 64, "batch": 1, "clip_skip": 1, "seed": None, "variation_seed": 3, "cfg": 7, "strength": 0.5}
    given |= {"variation_strength": 0}
    found = numbers(given)
    assert (found["seed"], found["variation_seed"], found["width"]) == (-1, 3, 64)
    for name, value, said in (
        ("steps", 2.5, "Sampling steps: bad value: expected a whole number up to 9007199254740991, found 2.5"),
        ("seed", 1.5, "Seed: bad value: expected a whole number up to 9007199254740991, found 1.5"),
        ("seed", 1e20, "Seed: bad value: expected a whole number up to 9007199254740991, found 1e+20"),
        ("steps", None, "Sampling steps: bad value: expected a whole number up to 9007199254740991, found nothing"),
        ("cfg", None, "CFG Scale: bad value: expected a number, found nothing"),
    ):
        with pytest.raises(unetdump.ArgumentError) as caught:
            numbers({**given, name: value})
        assert line_of(caught.value) == said
    assert [count(value) for value in (2.6, 0.2, None, "x", float("nan"), 12)] == [3, 1, 1, 1, 1, 12]


def test_queries_are_the_commands() -> None:
    assert parse_queries("64,80; 10,10", 128, 128) == [(64, 80), (10, 10)]
    assert parse_queries("grid:2x1", 128, 64) == [(32, 32), (96, 32)]
    for bad in ("", "1", "1,2,3", "a,b", "grid:9x9", "grid:0x1", "1,2;;"):
        with pytest.raises(unetdump.ArgumentError):
            parse_queries(bad, 128, 128)


def test_captions() -> None:
    said = {"000.png": "picture", "000-unet-OUT11-020-average.png": "OUT11 20 average", "000-attn-IN05-001-qk.png": "IN05 1 qk"}
    said |= {"000-heat-red.png": "heat of red", "000-diff-M00-003.png": "M00 3 diff", "sheet.png": "sheet.png"}
    said |= {"000-heat-erased-circle.png": "heat of circle, without layer prompts", "000-heat.png": "heat", "000-erased.png": "without layer prompts"}
    said |= {"000-heat-_c3_a9t_c3_a9_2d1.png": "heat of été-1", f"000-heat-{'a' * 40}_x0123456789abcdef.png": f"heat of {'a' * 40}..."}
    said |= {"000-heat-erased-_65rased.png": "heat of erased, without layer prompts", "000-attn-IN05-001-and1-erased-qk.png": "IN05 1 qk, part 2, without layer prompts"}
    said |= {"000-attn-IN05-001-uncond-self-entropy-d2-average.png": "IN05 1 self-entropy layer 3 average, negative prompt"}
    assert {name: caption(name) for name in said} == said
    assert caption("001-unet-OUT11-020.png", 2) == "1: OUT11 20"
    assert (duration(0.123), duration(12.3), duration(200)) == ("0.12 s", "12 s", "3 min 20 s")


def start(queue: Queue, root: Path, **options: Any) -> Run:
    given = {"width": 64, "height": 64, "steps": 3, "cfg": 3.5, "seed": 1, **options}
    run = Run(PROMPT, given, new_folder(root))  # type: ignore[arg-type]
    queue.add(run)
    return run


def test_runs_take_turns_and_stop(model: unetdump.Model, tmp_path: Path) -> None:
    queue = Queue(model)
    endless = start(queue, tmp_path, steps=1000, features="OUT11", feature_steps="1")
    second, third, wrong = start(queue, tmp_path), start(queue, tmp_path), start(queue, tmp_path, sampler="none such")
    assert (queue.ahead(second), queue.ahead(third)) == (1, 2)
    third.stop()
    assert third.ended.is_set() and not third.folder.exists() and "Stopped before it began" in progress(third)  # at once
    assert (queue.ahead(second), queue.ahead(wrong)) == (1, 2) and "It left no files" in files(third, "unetdump")
    while not endless.progress or endless.progress.step < 2:
        time.sleep(0.01)
    assert "Waiting for 2 other runs" in progress(wrong, queue.ahead(wrong)) and "of 1000" in progress(endless)
    assert [path.name for path in endless.pictures()] == ["000-unet-OUT11-001.png"]  # while it goes on
    endless.stop()
    for run in (endless, second, third, wrong):
        assert run.ended.wait(60)
    assert [run.state for run in (endless, second, third, wrong)] == [STOPPED, DONE, STOPPED, FAILED]
    assert not (endless.folder / "manifest.json").exists() and (second.folder / "manifest.json").exists()
    assert "Stopped at step" in progress(endless) and "unknown sampler" in progress(wrong)
    assert [run.folder.name for run in (endless, second, third)] == ["0001", "0002", "0003"] and not wrong.folder.exists()
    dumped = start(queue, tmp_path, features="OUT11", feature_steps="1", dump="bin")  # in folders
    assert dumped.ended.wait(60) and f"Done: {sum(path.is_file() for path in dumped.folder.rglob('*'))} files" in progress(dumped)
    early = start(queue, tmp_path, steps=1000, features="OUT11", feature_steps="1000", dump="bin")
    while not early.progress:
        time.sleep(0.01)
    early.stop()
    assert early.ended.wait(60) and early.state == STOPPED and not early.folder.exists()  # nothing was written
    queue.close()


def test_clicks_show_what_the_run_captured(model: unetdump.Model, tmp_path: Path) -> None:
    options: dict[str, Any] = {"width": 64, "height": 96, "attention": "IN05,OUT08", "attention_kinds": ["qk", "self-map"], "diff": "OUT11"}
    queue = Queue(model)
    run = start(queue, tmp_path, **options)
    assert run.ended.wait(60) and run.state == DONE and run.result
    queue.close()
    whole = model.generate(PROMPT, **run.options)
    captured = Captured(run.result, 0, "enabled")
    assert captured.steps() == [1, 2, 3] and captured.blocks() == ["IN05", "OUT08"] and captured.has_points
    texts = {captured.run.contexts[prompt.context].text: prompt for prompt in captured.prompts()}
    assert {text: prompt.blocks for text, prompt in texts.items()} == {"a red circle": ("IN05",), "a  green  circle": ("OUT08",)}
    green = texts["a  green  circle"]
    at = [column.text for column in green.columns].index("green")
    maps = captured.maps(Token("cond", 0, green.context, at))
    expected = whole.attention["OUT08"].word("green")
    assert list(maps.blocks) == ["OUT08"] and maps.mean.shape == (12, 8)
    assert np.allclose(maps.blocks["OUT08"], expected, rtol=1e-3, atol=1e-6)  # half precision has 11 bits
    with pytest.raises(LookupError):
        captured.maps(Token("cond", 0, green.context, at), "IN05")

    point = Point(50, 70)
    looked = captured.maps(point, "IN05", 2)
    full = whole.attention["IN05"].kind("self-map")[2].mean(0)  # 4 x 6 positions of 16 px
    assert np.allclose(looked.blocks["IN05"], full[4 * 4 + 3].reshape(6, 4) * 24, rtol=1e-3, atol=1e-4)

    shown = view(run.result.image, captured, with_attention(model), point, looked)
    assert 'class="mark"' in shown and "OUT08" in shown and "<script" not in shown
    assert parse_token("cond 0 1 5") == Token("cond", 0, 1, 5)
    assert 'class="on word"' in tokens([green], Token("cond", 0, green.context, at), with_attention(model))
    norms = last_norms(run.result)
    assert norms == {"OUT11": pytest.approx(whole.diff["OUT11"].norms[3].relative_l2)} and "OUT11" in chart(norms, names(model))


def test_prompts_that_change_say_at_which_steps(model: unetdump.Model, tmp_path: Path) -> None:
    queue = Queue(model)
    run = Run("a [red:green:2] circle", {"width": 64, "height": 64, "steps": 5, "attention": "IN05"}, tmp_path / "run")
    queue.add(run)
    assert run.ended.wait(60) and run.state == DONE and run.result
    queue.close()
    captured = Captured(run.result, 0, "enabled")
    shown = re.findall(r"<span>(.*?)</span>", tokens(captured.prompts(), None, with_attention(model)))
    assert shown == ["IN05 · steps 1-2", "IN05 · steps 3-5"]
    assert [captured.run.contexts[prompt.context].text for prompt in captured.prompts()] == ["a red circle", "a green circle"]


def test_little_is_kept(model: unetdump.Model, tmp_path: Path) -> None:
    keeper = Keeper()
    result = model.generate("a circle", width=64, height=64, steps=2, features="", attention="IN05", keep=keeper)
    assert not result.features and keeper.sample and keeper.sample[0] == "OUT11 at step 2"
    assert result.attention["IN05"].qk[1].dtype == np.float16 and len(result.attention["IN05"].qk[1]) == 1


def test_the_page_is_optional(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    imported = "import sys, unetdump, unetdump.ui; print('gradio' in sys.modules, 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", imported], check=True, capture_output=True, text=True).stdout == "False False\n"
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["-m", "x"]) == 1
    assert capsys.readouterr().err == "unetdump: ui needs Gradio: pip install 'unetdump[ui]'\n"


def test_other_sites_pages_are_refused() -> None:
    async def answer(kind: str, *headers: tuple[bytes, bytes]) -> list[dict[str, Any]]:
        async def page(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "the page"})

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        said: list[dict[str, Any]] = []
        await server.OwnOrigin(page)({"type": kind, "headers": list(headers)}, None, send)
        return said

    host = (b"host", b"LocalHost:7860")
    for own in ((), (b"origin", b"http://localhost:7860"), (b"origin", b"https://localhost:7860")):
        assert asyncio.run(answer("http", host, *([own] if own else []))) == [{"type": "the page"}]
    for other in (b"http://evil.example", b"http://localhost", b"null", b"http://localhost:7860.evil.example", b"", b"localhost:7860"):
        assert asyncio.run(answer("http", host, (b"origin", other)))[0].get("status") == 403
        assert asyncio.run(answer("websocket", host, (b"origin", other)))[0]["type"] == "websocket.close"


def test_addresses_of_this_machine() -> None:
    assert [server.is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "192.168.1.2", "example.org")] == [True] * 3 + [False] * 3
