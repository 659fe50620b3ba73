"""Runs from outside: errors, threads, Ctrl-C, hooks, contexts, what lives how long."""

import copy
import gc
import os
import pickle
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import unetdump
from conftest import DEMO, start

SMALL: dict[str, Any] = {"width": 64, "height": 64, "steps": 3, "cfg": 3.5, "seed": 1}


def test_errors_have_a_place(model: unetdump.Model) -> None:
    with pytest.raises(unetdump.NotationError) as caught:
        model.generate("a\nb (~: IN99: cat :~)", **SMALL)
    error = caught.value
    assert error.status == 2 and error.status_name
    assert (error.line, error.column, error.offset) == (2, 7, 8) and "IN99" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and (str(again), again.column, again.found) == (str(error), error.column, error.found)
    with pytest.raises(ValueError, match="sampler"):
        model.generate("a", sampler="nothing", **SMALL)
    with pytest.raises(unetdump.FileError) as missing:
        unetdump.load("/nowhere")
    assert missing.value.where.startswith("/nowhere")
    with pytest.raises(TypeError, match="no such option: colour"):
        model.generate("a", colour="red")  # type: ignore[call-arg]
    with pytest.raises(unetdump.ArgumentError, match="steps: expected a number other than 0"):
        model.generate("a", steps=0)
    with pytest.raises(unetdump.ArgumentError, match="side"):
        model.generate("a", side="left")


def test_two_threads_on_one_model(model: unetdump.Model) -> None:
    alone = {seed: model.generate("a red circle", **{**SMALL, "seed": seed}, features="OUT11") for seed in (1, 2)}
    found: dict[int, unetdump.Result] = {}

    def work(seed: int) -> None:
        found[seed] = model.generate("a red circle", **{**SMALL, "seed": seed}, features="OUT11")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, result in alone.items():
        assert found[seed].image.tobytes() == result.image.tobytes()
        assert found[seed].features["OUT11"][3].tobytes() == result.features["OUT11"][3].tobytes()


def test_gil_is_released(model: unetdump.Model) -> None:
    turns, done = 0, threading.Event()

    def count() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            time.sleep(0.0005)

    other = threading.Thread(target=count)
    other.start()
    session, before = model.session(), turns
    session.generate("a red circle", width=256, height=256, steps=1)  # one step: between two callbacks the lock is not ours to give
    seen = turns - before
    done.set()
    other.join()
    assert seen > 20


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = f"""
import sys, unetdump
m = unetdump.load({str(DEMO)!r}, threads=1)
def told(p): print(p.step, flush=True)
try: m.generate("a red circle", width=128, height=128, steps=500, features="OUT05", output={str(tmp_path / "out")!r}, dump="npy", progress=told)
except KeyboardInterrupt: print("interrupted", flush=True)
r = m.generate("a red circle", width=64, height=64, steps=1)
print("again", r.image.size, flush=True)
"""
    child = start(code)
    assert child.stdout
    while child.stdout.readline().strip() != "2":
        assert child.poll() is None
    os.kill(child.pid, signal.SIGINT)
    said = child.stdout.read().split("\n")
    assert child.wait() == 0 and "interrupted" in said and "again (64, 64)" in said
    written = list((tmp_path / "out").iterdir())
    assert written and not (tmp_path / "out" / "manifest.json").exists()
    for path in written:
        assert path.suffix in (".png", ".npy"), path
        if path.suffix == ".npy":
            np.load(path)
        else:
            unetdump.read_png(path)


def test_cancel_and_callbacks_that_raise(model: unetdump.Model) -> None:
    cancel = unetdump.Cancel()
    with pytest.raises(unetdump.CancelledError):
        model.generate("a", **SMALL, cancel=cancel, progress=lambda _: cancel.set())

    def fail(_: unetdump.Progress) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        model.generate("a", **SMALL, progress=fail)
    with pytest.raises(LookupError, match="mine"):
        for _ in model.stream("a", **SMALL, progress=fail):
            pass
    assert model.generate("a", **SMALL).image.size == (64, 64)


def test_hooks_change_what_follows(model: unetdump.Model) -> None:
    seen: list[tuple[str, int, tuple[int, ...]]] = []
    plain = model.generate("a red circle", **SMALL, features="OUT05,OUT11")

    def look(place: unetdump.Place, output: NDArray[Any]) -> None:
        seen.append((place.block, place.step, output.shape))

    looked = model.generate("a red circle", **SMALL, hooks={"OUT05,M00": look})
    assert looked.image.tobytes() == plain.image.tobytes()
    assert [name for name, _, _ in seen] == ["M00", "OUT05"] * 3 and seen[1][2][0] == 2  # prompt and negative prompt

    def ablate(place: unetdump.Place, output: NDArray[Any]) -> None:
        output[...] = 0

    patched = model.generate("a red circle", **SMALL, hooks={"OUT05": ablate}, features="OUT05,OUT11")
    assert not patched.features["OUT05"][1].any()
    assert patched.image.tobytes() != plain.image.tobytes()
    assert model.generate("a red circle", **SMALL).image.tobytes() == plain.image.tobytes()  # hooks end with their run


def test_hook_sees_the_values_that_are_kept(model: unetdump.Model) -> None:
    kept: list[NDArray[Any]] = []
    result = model.generate("a red circle", **SMALL, features="OUT05", hooks={"OUT05": lambda _, output: kept.append(output.copy())})
    assert kept[0][0].transpose(2, 0, 1).tobytes() == result.features["OUT05"][1].tobytes()


def test_hook_must_not_keep_its_array(model: unetdump.Model) -> None:
    kept: list[NDArray[Any]] = []
    with pytest.raises(RuntimeError, match=r"kept its array.*copy"):
        model.generate("a", **SMALL, hooks={"M00": lambda _, output: kept.append(output[0])})

    def fail(place: unetdump.Place, output: NDArray[Any]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.generate("a", **SMALL, hooks={"M00": fail})


def test_stream_can_change_the_latent_and_stop(model: unetdump.Model) -> None:
    plain = model.generate("a red circle", **SMALL)
    for step in model.stream("a red circle", **SMALL):
        assert step.latent.shape == (1, 8, 8, 4)
    assert step.result.image.tobytes() == plain.image.tobytes()  # reading changes nothing
    for step in model.stream("a red circle", **SMALL):
        step.latent *= 0.5
    assert step.result.image.tobytes() != plain.image.tobytes()
    stream = model.stream("a red circle", **SMALL, features="OUT11")
    for step in stream:
        break
    early = stream.finish()
    assert list(early.features["OUT11"]) == [1] and early.image.size == (64, 64)
    stream.close()
    with pytest.raises(unetdump.StateError):
        step.latent  # noqa: B018
    for _ in model.stream("a", **SMALL):
        break
    assert model.generate("a red circle", **SMALL).image.tobytes() == plain.image.tobytes()


def test_contexts_and_tables(model: unetdump.Model) -> None:
    plain = model.generate("a red circle", **SMALL)
    table = model.table("a red circle", **SMALL)
    assert table.rows == 2 and model.generate("", **SMALL, table=table).image.tobytes() == plain.image.tobytes()
    blue = model.encode("a blue circle")
    assert blue.values.shape == (77, model.info.context_dim) and [c.text for c in blue.columns[:4]] == ["<start>", "a", "blue", "circle"]
    for block in unetdump.parse_layers("OUT06-OUT08", model):
        table.set(blue, block, 0)
    layered = model.generate("a (~: _: red; OUT06-OUT08: blue :~) circle", **SMALL, features="OUT11")
    found = model.generate("", **SMALL, features="OUT11", table=table)
    np.testing.assert_allclose(  # the contexts lie in another order: fp32's rounding
        found.features["OUT11"][3], layered.features["OUT11"][3], rtol=1e-3, atol=1e-4
    )
    assert found.image.tobytes() != plain.image.tobytes()
    copied = unetdump.Context.from_array(model, blue.values)
    table.set(copied)
    entry = table.get("M00", 1)
    assert entry and entry.values.tobytes() == blue.values.tobytes() and entry.text == ""


def test_edit_context(model: unetdump.Model) -> None:
    texts: list[str] = []
    plain = model.generate("a red circle", **SMALL)
    same = model.generate("a red circle", **SMALL, edit_context=lambda text, _: texts.append(text))
    assert sorted(texts) == ["", "a red circle"] and same.image.tobytes() == plain.image.tobytes()

    def turn(text: str, values: NDArray[np.float32]) -> None:
        if text:
            values[2] = 0

    assert model.generate("a red circle", **SMALL, edit_context=turn).image.tobytes() != plain.image.tobytes()


def test_arrays_outlive_everything() -> None:
    model = unetdump.load(DEMO, threads=1)
    result = model.generate("a red circle", **SMALL, features="OUT11")
    array, steps = result.features["OUT11"][3], result.features["OUT11"]
    assert steps[3] is array  # no copy
    expected = array.copy()
    stream = model.stream("a red circle", **SMALL)
    next(stream)
    del result, steps, model
    gc.collect()
    next(stream)  # it holds the session, which holds the model
    del stream
    gc.collect()
    assert array.flags.owndata and array.tobytes() == expected.tobytes()


def test_memory_does_not_grow(model: unetdump.Model) -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def turn() -> None:
        model.generate("a red circle", **SMALL, features="", attention="", canvases=True)
        gc.collect()

    for _ in range(3):
        turn()
    before = resident_bytes()
    for _ in range(10):
        turn()
    kept = model.generate("a red circle", **SMALL, features="", attention="", canvases=True)
    one = kept.run.tensor_bytes + kept.run.picture_bytes
    assert resident_bytes() - before < 5 * one  # ten leaked results would be twice that


def test_batches_and_sides(model: unetdump.Model) -> None:
    result = model.generate("a red circle", **{**SMALL, "seed": 3}, batch_size=2, batch_count=2, features="M00", side="both")
    assert len(result.images) == 4
    alone = model.generate("a red circle", **{**SMALL, "seed": 6}, features="M00", side="both")
    np.testing.assert_allclose(  # other sums in another batch: fp32's rounding
        result.at(image=3, side="uncond").features["M00"][3], alone.at(side="uncond").features["M00"][3], rtol=1e-3, atol=1e-4
    )
    with pytest.raises(KeyError, match="kept are M00"):
        result.features["M01"]
    with pytest.raises(KeyError, match="kept are"):
        result.features["M00"][9]


def test_notebook_forms(model: unetdump.Model) -> None:
    result = model.generate("a red circle", **SMALL, features="M00", attention="M00", canvases=True)
    assert (result._repr_png_() or b"")[:4] == b"\x89PNG" and result.canvases[0]._repr_png_()[:4] == b"\x89PNG"
    for shown in (result.features["M00"], result.attention["M00"]):
        assert "data:image/png;base64," in shown._repr_html_()
    with pytest.raises(KeyError, match="no word of the prompt"):
        result.attention["M00"].word("square")


def test_keep_decides_what_of_each_array_is_kept(model: unetdump.Model) -> None:
    options: dict[str, Any] = {"width": 64, "height": 64, "steps": 2, "attention_kinds": "qk self-map"}
    whole = model.generate("a red circle", features="IN05", attention="IN05", **options)

    def keep(place: unetdump.Place, values: NDArray[Any]) -> NDArray[Any] | None:
        return None if place.kind == "features" else values.mean(0, keepdims=True).astype(np.float16)

    some = model.generate("a red circle", features="IN05", attention="IN05", keep=keep, **options)
    assert not some.features and some.image.tobytes() == whole.image.tobytes()
    for kind in ("qk", "self-map"):
        kept, full = some.attention["IN05"].kind(kind)[2], whole.attention["IN05"].kind(kind)[2]
        assert kept.dtype == np.float16 and kept.shape == (1, *full.shape[1:])
        assert np.array_equal(kept, full.mean(0, keepdims=True).astype(np.float16))
    assert some.attention["IN05"].word("circle", 2).shape == whole.attention["IN05"].word("circle", 2).shape


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_owns_memory_is_not_copied(model: unetdump.Model, duplicate: Any) -> None:
    """A shallow copy would free a session's memory twice."""
    model.generate("a", **SMALL)  # leaves a session for later runs
    stream = model.stream("a", **SMALL)
    for owner in (model, model.session(), stream):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            duplicate(owner)
    stream.close()


def test_texts_are_whole(model: unetdump.Model) -> None:
    with pytest.raises(ValueError, match="null character"):
        model.generate("a\0b", **SMALL)
    with pytest.raises(TypeError, match="expected str, found int"):
        model.generate(3, **SMALL)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected str, found list"):
        model.generate("a", features=["M00"], **SMALL)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="loras: expected a list"):
        unetdump.load(DEMO, loras="a.safetensors")
