"""What the package gives is what the C command writes, byte for byte."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import unetdump

PROMPT = "a (~: _: red; OUT06-OUT08: green :~) circle"
ARGUMENTS = ["-p", PROMPT, "--width", "64", "--height", "64", "--steps", "2", "--cfg", "3.5", "--seed", "1", "--features", "IN05,OUT11"]
ARGUMENTS += ["--attention", "IN05", "--attention-kind", "k,qk,vqk,self,self-map", "--attention-words", "circle", "--self-query", "32,32"]
ARGUMENTS += ["--diff", "OUT11", "--dump", "npy"]


def run(model: unetdump.Model, **more: object) -> unetdump.Result:
    return model.generate(
        PROMPT,
        width=64,
        height=64,
        steps=2,
        cfg=3.5,
        seed=1,
        features="IN05,OUT11",
        attention="IN05",
        attention_kinds="k qk vqk self self-map",
        words="circle",
        self_queries=[(32, 32)],
        diff="OUT11",
        **more,  # type: ignore[arg-type]
    )


def test_arrays_and_pictures(model: unetdump.Model, command: Callable[..., Path], tmp_path: Path) -> None:
    out, result = command(*ARGUMENTS), run(model, canvases=True)
    result.save(tmp_path / "image.png")
    assert (tmp_path / "image.png").read_bytes() == (out / "000.png").read_bytes()
    result.at(variant="erased").save(tmp_path / "erased.png")
    assert (tmp_path / "erased.png").read_bytes() == (out / "000-erased.png").read_bytes()

    attention = result.attention["IN05"]
    arrays = {f"unet-{block}-{step:03}": result.features[block][step] for block in ("IN05", "OUT11") for step in (1, 2)}
    arrays |= {f"diff-OUT11-{step:03}": result.diff["OUT11"][step] for step in (1, 2)}
    kinds = ("k", "qk", "vqk", "words", "self-queries", "self-received", "self-entropy", "self-pca", "self-map")
    arrays |= {f"attn-IN05-{step:03}-{kind}": attention.kind(kind)[step] for kind in kinds for step in (1, 2)}
    for name, array in arrays.items():
        expected = np.load(out / f"000-{name}.npy")
        assert expected.shape == array.shape and expected.tobytes() == array.tobytes(), name
    assert np.load(out / "000-heat.npy").tobytes() == result.heat["circle"].tobytes()

    canvas = result.canvas("features", "OUT11", 2)
    assert canvas.image.tobytes() == unetdump.read_png(out / "000-unet-OUT11-002.png").tobytes()
    assert canvas.image.width == canvas.columns * (canvas.tile_width_px + 1) - 1
    with (out / "diff.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["block"], row["step"]) == ("OUT11", "2")]
    assert len(rows) == 1 and float(rows[0]["l2"]) == pytest.approx(result.diff["OUT11"].norms[2].l2, rel=1e-5)  # as many digits as the file has


def test_folder(model: unetdump.Model, command: Callable[..., Path], tmp_path: Path) -> None:
    out = command(*ARGUMENTS)
    run(model, output=tmp_path / "package", dump="npy")
    files = sorted(path.name for path in out.iterdir())
    assert files == sorted(path.name for path in (tmp_path / "package").iterdir()) and len(files) > 30
    for name in files:
        a, b = (out / name).read_bytes(), (tmp_path / "package" / name).read_bytes()
        if name == "manifest.json":  # it has the time
            assert json.loads(a)["files"] == json.loads(b)["files"]
        else:
            assert a == b, name


def test_a_dump_is_the_folders_alone(model: unetdump.Model, tmp_path: Path) -> None:
    options = {"width": 64, "height": 64, "steps": 1, "features": "M00", "attention": "M00", "attention_kinds": "self-map", "dump": "npy"}
    kept = model.generate("a", **options, output=tmp_path / "kept")  # type: ignore[arg-type]
    alone = model.generate("a", **options, output=tmp_path / "alone", tensors=False)  # type: ignore[arg-type]
    assert not alone.features and not alone.attention and kept.features
    arrays = {path.name: path.read_bytes() for path in (tmp_path / "kept").glob("*.npy")}
    assert len(arrays) == 2 and arrays == {path.name: path.read_bytes() for path in (tmp_path / "alone").glob("*.npy")}


def test_stream_is_the_same_run(model: unetdump.Model) -> None:
    whole = run(model)
    stream = model.stream(
        PROMPT, width=64, height=64, steps=2, cfg=3.5, seed=1, features="IN05,OUT11", attention="IN05", diff="OUT11"
    )
    assert [(step.index, step.remaining) for step in stream] == [(1, 1), (2, 0)]
    assert stream.result.image.tobytes() == whole.image.tobytes()
    assert stream.result.features["OUT11"][2].tobytes() == whole.features["OUT11"][2].tobytes()


def test_word_is_the_librarys(model: unetdump.Model) -> None:
    result = run(model)
    expected = np.mean([result.attention["IN05"].kind("words")[step][0] for step in (1, 2)], axis=0)
    np.testing.assert_allclose(result.attention["IN05"].word("circle"), expected, rtol=1e-5)  # sums of fp32 in another order


def test_notation() -> None:
    assert unetdump.parse_layers("IN00,OUT00-OUT11(+5)") == ["IN00", "OUT00", "OUT05", "OUT10"]
    assert unetdump.parse_steps("1,5-9(+2)", 20) == [1, 5, 7, 9]
    prompt = unetdump.parse_prompt("a [red:blue:10] (~: M00: big :~) (dog:1.2)", 20)
    assert prompt.blocks["M00"] == "a [red:blue:10]  big  (dog:1.2)"
    assert [entry.until for entry in prompt.schedules["IN00"]] == [10, 20]
    assert prompt.schedules["IN00"][0].parts[0].pieces[-1] == ("dog", 1.2)
    assert [(token.text, token.column) for token in unetdump.tokens("a (red:1.5) circle")] == [("a", 1), ("red", 2), ("circle", 3)]


def test_parameters(model: unetdump.Model, tmp_path: Path) -> None:
    first = model.generate("a red circle", width=64, height=64, steps=2, sampler="Euler", cfg=3.5, seed=7)
    first.save(tmp_path / "first.png")
    parameters = unetdump.Parameters(tmp_path / "first.png")
    assert parameters["Prompt"] == "a red circle" and parameters["Seed"] == "7" and parameters.uses["Steps"] == "used"
    again = model.generate(parameters=parameters)
    assert again.image.tobytes() == first.image.tobytes()
    assert unetdump.read_png(tmp_path / "first.png").tobytes() == first.image.tobytes()
    varied = model.generate("a blue circle", parameters=parameters)
    assert varied.run.prompt == "a blue circle" and varied.run.seed == 7
