"""Runs from outside: errors, threads, Ctrl-C, hooks, contexts, what lives how long."""

import base64
import copy
import gc
import io
import os
import pickle
import re
import signal
import threading
import time
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import unetdump
from conftest import DEMO, start
from unetdump import typed
from unetdump.folder import Folder

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


def stop(*_: Any) -> None:
    raise StopIteration


def test_stop_iteration_is_no_end(model: unetdump.Model) -> None:
    ways: list[dict[str, Any]] = [
        {"progress": stop},
        {"hooks": {"M00": stop}},
        {"features": "M00", "keep": stop},
        {"edit_context": stop},
        {"progress": stop, "table": model.table("a", **SMALL)},
    ]
    for way in ways:
        with pytest.raises(RuntimeError, match="raised StopIteration") as caught:
            model.generate("a", **SMALL, **way)
        assert isinstance(caught.value.__cause__, StopIteration)
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            list(model.stream("a", **SMALL, **way))


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
    stream = model.stream("a red circle", **SMALL)
    first = next(stream)
    read = first.latent
    next(stream)
    assert first.latent is read
    with pytest.raises(unetdump.StateError, match="gone on"):
        first.latent = read * 0
    stream.close()
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


def test_entries_of_a_table_that_are_not_there(model: unetdump.Model) -> None:
    table = model.table("a red circle", **SMALL)
    blue = model.encode("a blue circle")
    for row in (-1, 2):
        with pytest.raises(unetdump.ArgumentError, match=f"row: expected 0 to 1, found {row}"):
            table.set(blue, row=row)
    for block in (-1, 3, "M01", ["M00"]):
        with pytest.raises(unetdump.ArgumentError, match="block: expected one of IN00"):
            table.set(blue, block)  # type: ignore[arg-type]
    entry = table.get("M00", 0)
    assert entry and entry.text == "a red circle" and table.get("M00", -1) is None


def test_edit_context(model: unetdump.Model) -> None:
    texts: list[str] = []
    plain = model.generate("a red circle", **SMALL)
    same = model.generate("a red circle", **SMALL, edit_context=lambda text, _: texts.append(text))
    assert sorted(texts) == ["", "a red circle"] and same.image.tobytes() == plain.image.tobytes()

    def turn(text: str, values: NDArray[np.float32]) -> None:
        if text:
            values[2] = 0

    assert model.generate("a red circle", **SMALL, edit_context=turn).image.tobytes() != plain.image.tobytes()


EDITED = ["a red circle", "a red circle :0.5", "a red circle AND a blue square :0.7", "a (~: M00: blue :~) circle"]


@pytest.mark.parametrize("prompt", EDITED)
def test_an_edit_that_changes_nothing(model: unetdump.Model, prompt: str) -> None:
    options: dict[str, Any] = {**SMALL, "attention": "M00", "words": "circle"}
    plain, same = model.generate(prompt, **options), model.generate(prompt, **options, edit_context=lambda *_: None)
    assert same.image.tobytes() == plain.image.tobytes() and same.run.infotext == plain.run.infotext
    assert [context.columns for context in same.run.contexts] == [context.columns for context in plain.run.contexts]
    assert same.heat["circle"].tobytes() == plain.heat["circle"].tobytes()


def test_edit_context_keeps_the_words(model: unetdump.Model) -> None:
    def turn(text: str, values: NDArray[np.float32]) -> None:
        values[1:3] = values[2:0:-1].copy()

    result = model.generate("a red circle", **SMALL, attention="M00", edit_context=turn)
    assert result.attention["M00"].word("circle").shape == (1, 1) and "a red circle" in [context.text for context in result.run.contexts]


def test_a_table_that_was_given_is_as_it_was(model: unetdump.Model) -> None:
    table = model.table("a red circle :0.5", **SMALL)
    plain = model.generate("", **SMALL, table=table)
    before = [table.get(block.name, row) for block in model.blocks for row in range(table.rows)]

    def clear(_: str, values: NDArray[np.float32]) -> None:
        values[...] = 0

    assert model.generate("", **SMALL, table=table, edit_context=clear).image.tobytes() != plain.image.tobytes()
    after = [table.get(block.name, row) for block in model.blocks for row in range(table.rows)]
    assert [context and context.handle for context in after] == [context and context.handle for context in before]
    assert model.generate("", **SMALL, table=table).image.tobytes() == plain.image.tobytes()


def test_a_context_with_other_values(model: unetdump.Model) -> None:
    context = model.encode("a red circle")
    other = context.replace(context.values * 2)
    assert (other.text, other.columns) == (context.text, context.columns)
    assert other.values.tobytes() == (context.values * 2).tobytes()
    for values in (np.full_like(context.values, np.nan), context.values[:9]):
        with pytest.raises(unetdump.ArgumentError, match="context"):
            context.replace(values)
    with pytest.raises(unetdump.ArgumentError, match="context: value 0 is not finite"):
        unetdump.Context.from_array(model, np.full_like(context.values, np.inf))


@pytest.mark.parametrize(
    ("prompt", "more", "found"),
    [
        ("a [red:green:2] circle", {}, r"found 'a \[red:green:2\] circle'"),
        ("a [red|green] circle", {}, "found 'a "),
        ("a", {"negative_prompt": "[red:green:2]"}, "found the negative prompt '"),
        ("a :0.5", {"negative_prompt": "[red:green:2]", "cfg": 1}, "found the negative prompt '"),
        ("a [red:green:0.5] circle", {"sampler": "Heun"}, "found 'a "),
        ("a [red:green:4] circle", {"sampler": "Heun"}, "found 'a "),
        ("a [red:green:4] circle", {}, None),
        ("a [red:green:5] circle", {"sampler": "Heun"}, None),
        ("a", {"negative_prompt": "[red:green:2]", "cfg": 1}, None),
    ],
)
def test_edit_context_refuses_prompts_that_change(model: unetdump.Model, prompt: str, more: dict[str, Any], found: str | None) -> None:
    options = {**SMALL, **more}
    if found:
        with pytest.raises(unetdump.ArgumentError, match="edit_context: expected prompts that stay the same over the steps, " + found):
            model.generate(prompt, **options, edit_context=lambda *_: None)
    else:
        plain = model.generate(prompt, **options)
        assert model.generate(prompt, **options, edit_context=lambda *_: None).image.tobytes() == plain.image.tobytes()


def test_edit_context_is_of_one_model(model: unetdump.Model) -> None:
    with pytest.raises(unetdump.ArgumentError, match="edit_context: expected none in a diff between two models"):
        model.generate("a", **SMALL, diff="", other=model, edit_context=lambda *_: None)


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
    assert (repr(result).count("4 images"), repr(result.at(image=1)).count("4 images")) == (1, 1)


def test_turning_to_what_is_not_there(model: unetdump.Model) -> None:
    prompt = "a (~: M00: red :~) circle"
    result = model.generate(prompt, **SMALL, features="M00", diff="M00", side="uncond")
    assert list(result.features["M00"]) == [1, 2, 3]  # the side that was kept
    assert result.at(side="uncond").features["M00"][1] is result.features["M00"][1]
    assert result.at(variant="erased").image.size == (64, 64) and "1 images" in repr(result)
    for place, known in (
        ({"side": "cond"}, "no side 'cond': there are uncond"),
        ({"side": "left"}, "no side 'left': there are uncond"),
        ({"variant": "other"}, "no variant 'other': there are enabled, erased"),
        ({"image": 1}, "no image 1: there are 0"),
        ({"part": 1}, "no part 1: there are 0"),
    ):
        with pytest.raises(KeyError, match=known):
            result.at(**place)
    joined = model.generate("a circle AND a square", **SMALL, features="M00", side="both")
    assert joined.at(part=1).features["M00"][1].any() and joined.at(side="uncond").features["M00"][1].any()
    other = model.generate("a", **SMALL, diff="M00", other=model)
    assert other.at(variant="other").image.tobytes() == other.image.tobytes()
    with pytest.raises(KeyError, match="no variant 'erased': there are enabled, other"):
        other.at(variant="erased")


def test_a_run_of_several_batches_is_told_of_once(model: unetdump.Model) -> None:
    result = model.generate("a", **{**SMALL, "seed": 3}, batch_size=2, batch_count=2)
    alone = model.generate("a", **{**SMALL, "seed": 3})
    assert (result.run.seed, result.run.infotext) == (3, alone.run.infotext)


def nothing_but_nan(place: unetdump.Place, output: NDArray[Any]) -> None:
    output[...] = np.nan


def test_what_the_command_warns_of(model: unetdump.Model) -> None:
    looks: dict[str, Any] = {"features": "M00", "feature_steps": "1,9", "attention": "M00", "attention_steps": "2-9"}
    with pytest.warns(UserWarning, match="^feature_steps: 1 of the steps named lie past the last, 3$") as warned:
        model.generate("a", **SMALL, **looks)
    assert len(warned) == 1 and warned[0].filename == __file__
    with pytest.warns(UserWarning, match="of the decoded pictures are no numbers") as warned:
        model.generate("a", **SMALL, hooks={"OUT11": nothing_but_nan})
    assert len(warned) == 1 and warned[0].filename == __file__
    with pytest.warns(UserWarning, match=f"^{3 * 64 * 64} values of the decoded"):
        list(model.stream("a", **SMALL, hooks={"OUT11": nothing_but_nan}))


@pytest.mark.filterwarnings("error")
def test_blocks_without_attention(model: unetdump.Model) -> None:
    with pytest.raises(unetdump.ArgumentError, match="attention: expected blocks of which some have attention, found 'IN00,IN03'"):
        model.generate("a", **SMALL, attention="IN00,IN03")
    some = model.generate("a", **SMALL, attention="IN00,M00")
    assert list(some.attention) == ["M00"] and some.run.skipped == ("IN00",)
    with pytest.raises(unetdump.NotationError, match="IN99"):
        model.generate("a", **SMALL, attention="IN99")
    with pytest.raises(unetdump.ArgumentError, match="feature steps"):  # none is left: the run's to refuse
        model.generate("a", **SMALL, features="M00", feature_steps="9")


@pytest.mark.parametrize("words", ["circle red", ["circle", "red"]])
def test_words_without_qk(model: unetdump.Model, words: Any) -> None:
    asked: dict[str, Any] = {**SMALL, "attention": "M00"}
    whole = model.generate("a red circle", **asked, attention_kinds="qk", words=words)
    result = model.generate("a red circle", **asked, words=words)
    attention = result.attention["M00"]
    for step in (None, 2):
        np.testing.assert_allclose(attention.word("circle", step), whole.attention["M00"].word("circle", step), rtol=1e-5)
    assert attention.columns(2) == whole.attention["M00"].columns(2)
    with pytest.raises(KeyError, match=r"'a' is none of words, and qk of M00 was not kept: the words are circle, red"):
        attention.word("a")
    with pytest.raises(KeyError, match=r"words of M00 was not kept at step 9: kept are \[1, 2, 3\]"):
        attention.word("circle", 9)


def test_columns_of_what_was_kept(model: unetdump.Model) -> None:
    asked: dict[str, Any] = {**SMALL, "attention": "M00", "attention_steps": "1-2"}
    keys = model.generate("a red circle", **asked, attention_kinds="k").attention["M00"]
    assert [column.text for column in keys.columns(2)[:4]] == ["<start>", "a", "red", "circle"]
    with pytest.raises(KeyError, match=r"k of M00 was not kept at step 3: kept are \[1, 2\]"):
        keys.columns(3)
    with pytest.raises(KeyError, match="qk of M00 was not kept: kept are k"):
        keys.word("circle")
    own = model.generate("a red circle", **asked, attention_kinds="self").attention["M00"]
    with pytest.raises(KeyError, match="no cross-attention of M00 was kept: kept are self-received, self-entropy, self-pca"):
        own.columns(1)


def test_layers_of_a_block(model: unetdump.Model) -> None:
    result = model.generate("a red circle", **SMALL, attention="M00")
    assert result.attention["M00"].layer(0).qk[1] is result.attention["M00"].qk[1]
    with pytest.raises(KeyError, match="no attention of M00, layer 5 was kept: kept are 0"):
        result.attention["M00"].layer(5)
    place = ("qk", 0, "enabled", "cond", 0, "M00", 3)
    result._store.tensors[place] = {1: np.zeros((1, 77, 1, 1), np.float32)}
    assert repr(result.attention["M00"].layer(3)) == "<attention of M00, layer 3: qk>"


def test_results_are_pickled(model: unetdump.Model) -> None:
    result = model.generate("a (~: M00: red :~) circle", **SMALL, features="M00", attention="M00", diff="M00", words="circle")
    features, attention, diff = pickle.loads(pickle.dumps((result.features, result.attention, result.diff)))
    assert features["M00"][2].tobytes() == result.features["M00"][2].tobytes()
    assert attention["M00"].word("circle").tobytes() == result.attention["M00"].word("circle").tobytes()
    assert diff["M00"].norms == result.diff["M00"].norms


def test_notebooks_draw_what_canvases_show(model: unetdump.Model) -> None:
    kinds = ("k", "qk", "vqk", "words", "self-queries", "self-received", "self-entropy", "self-pca")
    looks: dict[str, Any] = {"attention": "IN05", "attention_kinds": "k qk vqk self self-map", "words": "red circle", "canvases": True}
    result = model.generate("a red circle", **SMALL, **looks, self_queries=[(8, 8), (16, 40), (60, 60)])
    attention = result.attention["IN05"]
    for kind in kinds:
        data = re.search("base64,([^\"]+)", attention.kind(kind)._repr_html_())
        assert data
        shown = Image.open(io.BytesIO(base64.b64decode(data[1])))
        assert shown.tobytes() == result.canvas(kind, "IN05", 3).image.tobytes(), kind
    assert attention.kind("self-map")._repr_html_() == "<p>self-map of IN05 [heads, h * w, h * w] = [2, 16, 16], step 3 of [1, 2, 3]</p>"
    assert attention._repr_html_().count("<figure>") == len(kinds)


def test_notebook_forms(model: unetdump.Model) -> None:
    result = model.generate("a red circle", **SMALL, features="M00", attention="M00", canvases=True)
    assert (result._repr_png_() or b"")[:4] == b"\x89PNG" and result.canvases[0]._repr_png_()[:4] == b"\x89PNG"
    for shown in (result.features["M00"], result.attention["M00"]):
        assert "data:image/png;base64," in shown._repr_html_()
    with pytest.raises(KeyError, match="no word of the prompt: its tokens are a, red, circle"):
        result.attention["M00"].word("square")
    with pytest.raises(KeyError, match="'square' is no word of the prompt, which has none"):
        model.generate("", **SMALL, attention="M00").attention["M00"].word("square")
    with pytest.raises(unetdump.ArgumentError, match="no tokens"):
        result.attention["M00"].word(" ")


def test_a_word_over_a_border_of_chunks(model: unetdump.Model) -> None:
    result = model.generate("a " * 73 + "supercalifragilistic dog", **SMALL, attention="M00")
    columns = unetdump.tokens("supercalifragilistic")
    assert len(columns) > 2 and result.attention["M00"].word("supercalifragilistic").shape == result.attention["M00"].word("dog").shape


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


def test_keep_leaves_heat_alone(model: unetdump.Model) -> None:
    looks: dict[str, Any] = {"attention": "M00", "attention_kinds": "qk", "words": "red circle"}
    whole = model.generate("a red circle", **SMALL, **looks)
    some = model.generate("a red circle", **SMALL, **looks, keep=lambda _, values: values.mean(0, keepdims=True))
    assert list(some.heat) == ["red", "circle"] and some.heat["circle"].tobytes() == whole.heat["circle"].tobytes()


@pytest.mark.filterwarnings("error")  # an exception in `__del__` is a warning to pytest
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_owns_memory_is_not_copied(model: unetdump.Model, duplicate: Any, tmp_path: Path) -> None:
    """A shallow copy would free a session's memory twice."""
    model.generate("a", **SMALL)  # leaves a session for later runs
    stream, folder = model.stream("a", **SMALL), Folder(tmp_path)
    owners = [model, model.session(), stream, folder, model.encode("a"), model.table("a"), unetdump.Cancel()]
    owners += [unetdump.Parameters(infotext="a"), unetdump.Renderer.__new__(unetdump.Renderer)]  # there may be no device
    for owner in owners:
        with pytest.raises(TypeError, match=f"a {type(owner).__name__} cannot be copied or pickled"):
            duplicate(owner)
    gc.collect()
    stream.close()
    folder.close(keep=False)


def test_texts_are_whole(model: unetdump.Model) -> None:
    for cut in (
        lambda: model.generate("a\0b", **SMALL),
        lambda: model.generate("a", color="rgb:v;v;v\0", **SMALL),
        lambda: model.generate("a", words=["a\0"], **SMALL),
        lambda: model.generate("a", output="/nowhere\0", **SMALL),
        lambda: model.encode("a\0b"),
        lambda: unetdump.load(f"{DEMO}\0"),
        lambda: unetdump.load(DEMO, vae=f"{DEMO}\0"),
        lambda: unetdump.sweep(model, "a", variants="a\0b", output="/nowhere", **SMALL),
        lambda: unetdump.parse_layers("M00\0,IN00"),
        lambda: unetdump.parse_steps("1\0,2"),
        lambda: unetdump.parse_prompt("a\0b"),
        lambda: unetdump.tokens("a\0b"),
        lambda: unetdump.Parameters(infotext="a\0b"),
        lambda: unetdump.Parameters("a\0b"),
        lambda: unetdump.read_png(b"a\0b"),  # type: ignore[arg-type]
        lambda: unetdump.write_png("a.png", Image.new("L", (8, 8)), "a\0b"),
        lambda: unetdump.write_report("a\0b"),
        lambda: unetdump.collect_sweep(Path("a\0b")),
    ):
        with pytest.raises(unetdump.ArgumentError, match="null character"):
            cut()
    with pytest.raises(TypeError, match="loras: expected a list"):
        unetdump.load(DEMO, loras="a.safetensors")


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        ("prompt", 3, "str, found int"),
        ("features", ["M00"], "str, found list"),
        ("feature_steps", 1, "str, found int"),
        ("color", 5, "str, found int"),
        ("width", "64", "a whole number, found '64'"),
        ("width", np.float32(64), "a whole number"),
        ("seed", None, "a whole number, found None"),
        ("cfg", "7", "a number, found '7'"),
        ("eta", None, "a number, found None"),
    ],
)
def test_types_of_options(model: unetdump.Model, option: str, value: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f"^{option}: expected {kind}"):
        model.generate(**{"prompt": "a", **SMALL, option: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hooks": [("M00", print)]}, "hooks: expected Mapping, found list"),
        ({"hooks": {"M00": 3}}, "hooks, 'M00': expected a function, found int: 3"),
        ({"edit_context": "a"}, "edit_context: expected a function, found str: 'a'"),
        ({"keep": "qk"}, "keep: expected a function, found str: 'qk'"),
        ({"progress": "yes"}, "progress: expected a function, found str: 'yes'"),
        ({"cancel": True}, "cancel: expected Cancel, found bool: True"),
        ({"other": str(DEMO), "diff": ""}, "other: expected Model, found str"),
        ({"table": "a"}, "table: expected Table, found str: 'a'"),
        ({"parameters": {"Seed": "3"}}, "parameters: expected Parameters, found dict"),
        ({"words": 3}, "words: expected str, or a list of them, found int: 3"),
        ({"words": [3]}, "words: expected str, found int: 3"),
        ({"force": True}, "force needs output"),
        ({"dump": "npy"}, "dump needs output"),
    ],
)
def test_types_of_what_a_run_takes(model: unetdump.Model, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}"):
        model.generate("a", **{**SMALL, **options})


def test_none_is_not_given(model: unetdump.Model) -> None:
    nothing = dict.fromkeys(("hooks", "edit_context", "table", "other", "output", "dump", "keep", "words", "attention_kinds", "cancel", "parameters"))
    plain = model.generate("a", **SMALL, attention="M00")
    assert repr(model.generate("a", **SMALL, attention="M00", **nothing)) == repr(plain)  # type: ignore[arg-type]
    assert unetdump.load(DEMO, threads=1, loras=None).info.family == model.info.family


def test_types_of_what_else_is_given(model: unetdump.Model, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^other needs diff"):
        model.generate("a", **SMALL, other=model)
    with pytest.raises(TypeError, match=r"^context: expected Context, found str: 'a'"):
        model.table("a", **SMALL).set("a")  # type: ignore[arg-type]
    for option in ("hooks", "table", "progress"):
        with pytest.raises(TypeError, match=f"no such option: {option}"):
            model.table("a", **{**SMALL, option: None})
    for parse in (unetdump.parse_prompt, unetdump.parse_layers):
        with pytest.raises(TypeError, match=r"^model: expected Model, found str: 'SDXL'"):
            parse("M00", model="SDXL")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^device: expected str, found int: 0"):
        unetdump.load(DEMO, device=0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^weight: expected a number, found str: '1'"):
        unetdump.Lora("x", "1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^replace: expected a mapping of old to new, or pairs, found str: 'red=green'"):
        model.sweep("a red", replace="red=green", output=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(unetdump.ArgumentError, match="batch_size: expected a number other than 0"):
        model.sweep("a red", replace={"red": "blue"}, batch_size=0, output=tmp_path)
    with pytest.raises(unetdump.UnsupportedError) as caught:
        model.encode("a AND b")
    assert "udump" not in str(caught.value)
    with pytest.raises(unetdump.ArgumentError, match="block IN00, row 0 has no context"):
        model.generate("a", **SMALL, table=unetdump.Table(model, 2))


@pytest.mark.skipif(not typed.Unpack, reason="Python 3.10 has no typing.Unpack")
def test_annotations_can_be_read() -> None:
    for name in unetdump.__all__:
        given = getattr(unetdump, name)
        members = [given, *vars(given).values()] if isinstance(given, type) else [given]
        for member in members:
            asked = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if callable(asked) and getattr(asked, "__module__", "").startswith("unetdump"):
                typing.get_type_hints(asked)
    assert typing.get_type_hints(unetdump.Model.generate)["return"] is unetdump.Result


def test_numbers_that_do_not_fit(model: unetdump.Model) -> None:
    with pytest.raises(OverflowError, match=r"^seed: .*found -1"):
        model.generate("a", **{**SMALL, "seed": -1})
    with pytest.raises(TypeError, match=r"^threads: expected a whole number, found '1'"):
        unetdump.load(DEMO, threads="1")  # type: ignore[arg-type]


def test_self_queries_are_pairs(model: unetdump.Model) -> None:
    look: dict[str, Any] = {**SMALL, "steps": 1, "attention": "IN05", "attention_kinds": "self"}
    halves = np.array([[1.5, 2]], np.float32)
    wrong: list[Any] = [[(8, 8), ()], [(5,)], [(8, 0, 56), (0, 56, 0)], [5, 6], "0,0", [(1.5, 2)], halves, [(2**40, 0)]]
    for queries in wrong:
        with pytest.raises(unetdump.ArgumentError, match="self_queries: expected x, y of each point"):
            model.generate("a", **look, self_queries=queries)
    forms: list[Any] = [[(8, 8), (40, 8)], np.array([[8, 8], [40, 8]])]
    pairs, array = (model.generate("a", **look, self_queries=form).attention["IN05"].kind("self-queries")[1] for form in forms)
    assert pairs.shape[1] == 2 and pairs.tobytes() == array.tobytes()
    assert model.generate("a", **SMALL, self_queries=[]).image.size == (64, 64)


def test_attention_kinds_as_the_command_has_them(model: unetdump.Model) -> None:
    forms: list[Any] = ["qk,self", "qk, self", "qk self", ["qk", "self"]]
    shown = [repr(model.generate("a", **SMALL, attention="IN05", attention_kinds=form).attention["IN05"]) for form in forms]
    assert set(shown) == {"<attention of IN05: qk, self-received, self-entropy, self-pca>"}
    with pytest.raises(unetdump.ArgumentError, match="attention_kinds: expected one of k, qk"):
        model.generate("a", **SMALL, attention="IN05", attention_kinds="qk;self")


def test_what_changes_in_place_returns_nothing(model: unetdump.Model) -> None:
    """PyTorch's hooks return an array, which would be lost here."""
    with pytest.raises(TypeError, match=r"a hook of M00: .*in place"):
        model.generate("a", **SMALL, hooks={"M00": lambda _, output: output * 0})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"edit_context: .*in place"):
        model.generate("a", **SMALL, edit_context=lambda _, values: values * 0)  # type: ignore[arg-type]


def test_a_stream_makes_one_batch(model: unetdump.Model) -> None:
    with pytest.raises(unetdump.ArgumentError, match="batch_count: expected 1 in a stream"):
        model.stream("a", **SMALL, batch_count=2)
    with pytest.raises(unetdump.ArgumentError, match="batch_count: expected 1 in a stream"):
        model.generate("a", **SMALL, batch_count=2, table=model.table("a", **SMALL))
    assert [step.index for step in model.stream("a", **SMALL, batch_count=1)] == [1, 2, 3]


@pytest.mark.parametrize("kind", [bool, np.float32, np.float64, np.int32, np.int64])
def test_pictures_are_of_bytes(model: unetdump.Model, kind: type, tmp_path: Path) -> None:
    picture: Any = np.ones((64, 64, 3), kind)
    with pytest.raises(TypeError, match=f"init: expected .*uint8.*found {np.dtype(kind)}"):
        model.generate("a", **SMALL, init=picture)
    with pytest.raises(TypeError, match=f"image: expected .*uint8.*found {np.dtype(kind)}"):
        unetdump.write_png(tmp_path / "a.png", picture)
    with pytest.raises(TypeError, match=r"init: expected .*uint8"):
        model.generate("a", **SMALL, init="a.png")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"image: expected .*uint8"):
        unetdump.write_png(tmp_path / "a.png", np.ones((1, 64, 64, 3), np.uint8))
    taken = [model.generate("a", **SMALL, init=init).image.tobytes() for init in (Image.new("RGB", (64, 64)), np.zeros((64, 64, 3), np.uint8))]
    assert taken[0] == taken[1]


def test_a_lora_is_found_by_its_name() -> None:
    goldens = DEMO.parents[1] / "tests" / "parity" / "goldens"
    assert unetdump.Lora.find(goldens.parent, "lora-kohya", 0.5) == unetdump.Lora(str(goldens / "lora-kohya.safetensors"), 0.5)
    with pytest.raises(unetdump.FileError, match="no LoRA 'lora-koh'"):
        unetdump.Lora.find(goldens, "lora-koh")


def test_loras_are_taken_off_a_prompt() -> None:
    goldens = DEMO.parents[1] / "tests" / "parity" / "goldens"
    kohya, locon = (str(goldens / f"lora-{name}.safetensors") for name in ("kohya", "locon"))
    prompt = "café <lora:lora-kohya:0.5:0.8> on\n<lyco:lora-locon>  "
    assert unetdump.Lora.take(prompt, goldens) == ("café  on\n", [unetdump.Lora(kohya, 0.8, "TE=0.625"), unetdump.Lora(locon)])
    assert unetdump.Lora.take("a <lora:> ", goldens) == ("a <lora:> ", [])
    rest, tags = unetdump.take_lora_tags(prompt)
    assert rest == "café  on\n" and [prompt[t.offset :].startswith(t.text) for t in tags] == [True, True]
    rest, tags = unetdump.take_lora_tags("<hypernet:h:1><lora:x:much>a")
    assert rest == "a" and [t.problem for t in tags] == [
        "hypernetworks are not supported",
        "expected one number as its weight, or the text encoders' and the U-Net's",
    ]
    with pytest.raises(unetdump.NotationError, match=r"<lora:x:1,5>: expected one number") as caught:
        unetdump.Lora.take("é\né <lora:x:1,5>", goldens)
    assert (caught.value.line, caught.value.column, caught.value.offset) == (2, 3, 4)
    with pytest.raises(unetdump.FileError, match="no LoRA 'x'"):
        unetdump.Lora.take("a <lora:x>", goldens)
