"""Makes the pictures of docs/images again: make_pictures.py [NAME...], by the Python of ./run python, with the demo model.

Those of the README by the commands that stand there, those of the notebooks by running them, the others here. All are small PNGs.
"""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageStat

import unetdump

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs/images"
RED = "a red circle on a blue background"
COMMON: dict[str, Any] = {"width": 128, "height": 128, "steps": 20, "cfg": 3.5, "seed": 1}
SIZE = ["-m", str(ROOT / "models/demo"), "--width", "128", "--height", "128", "--cfg", "3.5", "--seed", "1"]
NOTEBOOKS = {  # the code cell whose picture it is, counted from 0
    "channel-steps": ("first_look", 4),
    "words": ("word_maps", 1),
    "heat-background": ("word_maps", 3),
}
Pictures = Iterator[tuple[str, Image.Image]]


def command(*arguments: str) -> None:
    """Runs the built command; it says what is wrong itself."""
    subprocess.run([ROOT / "build/unetdump", *arguments], check=True, stdout=subprocess.DEVNULL)


def readme(folder: Path) -> Pictures:
    """What the README shows."""
    look, blocks = folder / "look", "a (~: _: red; IN01-IN02,OUT06-OUT08: green :~) circle on a blue background"
    features = ["--features", "IN05,OUT08", "--feature-steps", "20"]
    maps = ["--attention", "", "--attention-steps", "20", "--attention-kind", "qk,self", "--self-query", "64,80;10,10"]
    command("generate", *SIZE, "-q", "-p", RED, "-o", str(look), *features, *maps, "--attention-words", "circle")
    yield "picture", Image.open(look / "000.png")
    for block in ("IN05", "OUT08"):
        yield f"{block}-020", Image.open(look / f"000-unet-{block}-020.png")
    yield "heat-circle", Image.open(look / "000-heat-circle.png")
    yield "self-pca", larger(Image.open(look / "000-attn-OUT09-020-self-pca.png"), 8)
    yield "self-queries", larger(Image.open(look / "000-attn-OUT09-020-self-queries.png"), 3)
    diff = folder / "diff"
    differences = ["--diff", "OUT11", "--diff-steps", "20", "--color", "red-blue", "--transform", "auto11"]
    command("generate", *SIZE, "-q", "-p", blocks, "-o", str(diff), *differences)
    yield "layers", Image.open(diff / "000.png")
    yield "erased", Image.open(diff / "000-erased.png")
    yield "diff-OUT11-020", Image.open(diff / "000-diff-OUT11-020.png")
    sweep = folder / "sweep"
    choices = "IN01-IN02; IN04-IN11,M00,OUT00-OUT05; OUT06-OUT08; OUT09-OUT11; IN01-IN02,OUT06-OUT08"
    command("sweep", *SIZE, "-q", "-p", RED, "-o", str(sweep), "--replace", "red=green", "--blocks", choices)
    yield "sweep", Image.open(sweep / "sheet.png")


def notebooks(_: Path) -> Pictures:
    """The pictures that cells of examples/*.ipynb show."""
    for name in sorted({notebook for notebook, _ in NOTEBOOKS.values()}):
        notebook = nbformat.read(ROOT / f"examples/{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": ROOT / "examples"}}).execute()
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for picture, (where, index) in NOTEBOOKS.items():
            if where == name:
                shown = next(output["data"]["image/png"] for output in cells[index].outputs if "image/png" in output.get("data", {}))
                yield picture, Image.open(io.BytesIO(base64.b64decode(shown)))


def blocks(_: Path) -> Pictures:
    """Every block at the last step, one block at four steps, and the picture without each block."""
    model = unetdump.load(ROOT / "models/demo")
    result = model.generate(RED, **COMMON, features="", feature_steps="1,5,10,20")
    for block, arrays in result.features.items():
        picture = unetdump.render(arrays[20])
        yield f"block-{block}", larger(picture, max(1, round(110 / picture.width)))
    steps = (1, 5, 10, 20)
    yield "steps", row([unetdump.render(result.features["OUT08"][step]) for step in steps], [f"step {step}" for step in steps])

    def silence(_place: unetdump.Place, output: NDArray[Any]) -> None:
        output[...] = 0

    shown, names = [result.image], ["nothing"]
    for stage in model.blocks:
        shown.append(model.generate(RED, **COMMON, hooks={stage.name: silence}).image)
        names.append(stage.name)
    cells = [picture.resize((80, 80), Image.Resampling.LANCZOS) for picture in shown]
    yield "silenced", column([row(cells[i : i + 9], names[i : i + 9]) for i in range(0, len(cells), 9)])


def attention(_: Path) -> Pictures:
    """What the kinds of attention look like."""
    model = unetdump.load(ROOT / "models/demo")
    queries = [(64, 80), (10, 10)]
    kinds = ["k", "qk", "vqk", "self"]
    result = model.generate(
        RED, **COMMON, attention="OUT09", attention_steps="1,10,20", attention_kinds=kinds, self_queries=queries, canvases=True
    )
    tokens = [column.text for column in result.attention["OUT09"].columns(20)[:9]]
    qk = result.attention["OUT09"].qk[20]  # [heads, tokens, h, w]
    heads = [column([larger(unetdump.render(head[i : i + 1]), 4) for head in qk]) for i in range(len(tokens))]
    yield "qk", row(heads, tokens)
    yield "k", larger(result.canvas("k", "OUT09", 20).image, 4)
    yield "vqk", larger(result.canvas("vqk", "OUT09", 20).image, 2)
    places = [larger(result.canvas(f"self-{what}", "OUT09", 20).image, 4) for what in ("received", "entropy")]
    yield "self-maps", row(places, ["received", "entropy"])
    steps = (1, 10, 20)
    circle = [unetdump.render(result.attention["OUT09"].word("circle", step)[None], color="white-black") for step in steps]
    yield "circle-steps", row([larger(picture, 6) for picture in circle], [f"step {step}" for step in steps])


def colours(_: Path) -> Pictures:
    """One tensor in the colours and transforms there are."""
    model = unetdump.load(ROOT / "models/demo")
    values = model.generate(RED, **COMMON, features="OUT11", feature_steps="20").features["OUT11"][20][:4]
    looks = {
        "the default": (None, None),
        "white-black": ("white-black", None),
        "red-blue, auto11": ("red-blue", "auto11"),
        "linear:-2,2": ("red-blue", "linear:-2,2"),
        "sigmoid:2,0": ("red-blue", "sigmoid:2,0"),
        "rgb:v;v**2;...": ("rgb:v;v**2;where(v>0.9,1,0)", None),
    }
    yield "colours", row([larger(unetdump.render(values, *look), 3) for look in looks.values()], list(looks))


def larger(picture: Image.Image, times: int) -> Image.Image:
    """Each pixel as a square of `times` x `times`."""
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)


def row(pictures: list[Image.Image], names: list[str]) -> Image.Image:
    """Pictures side by side, each under its name."""
    width = [max(picture.width, 7 * len(name)) for picture, name in zip(pictures, names, strict=True)]
    made = Image.new("RGB", (sum(width) + 8 * (len(width) - 1), 18 + max(picture.height for picture in pictures)), "white")
    draw, x = ImageDraw.Draw(made), 0
    for picture, name, room in zip(pictures, names, width, strict=True):
        draw.text((x, 2), name, "black")
        made.paste(picture.convert("RGB"), (x, 18))
        x += room + 8
    return made


def column(pictures: list[Image.Image]) -> Image.Image:
    """Pictures one under the other."""
    made = Image.new("RGB", (max(picture.width for picture in pictures), sum(picture.height + 4 for picture in pictures)), "white")
    y = 0
    for picture in pictures:
        made.paste(picture, (0, y))
        y += picture.height + 4
    return made


def small(picture: Image.Image) -> bytes:
    """A PNG with a palette if that moves the values by less than 4 of 255 (root mean square: not to be seen), else in RGB."""
    exact = picture.convert("RGB")
    fewer = exact.quantize(256, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)
    error = ImageStat.Stat(ImageChops.difference(exact, fewer.convert("RGB"))).rms
    held = io.BytesIO()
    (fewer if max(error) < 4 else exact).save(held, "PNG", optimize=True)
    return held.getvalue()


def main() -> None:
    """All of them, or those of the groups that are named."""
    groups: list[Callable[[Path], Pictures]] = [readme, notebooks, blocks, attention, colours]
    work = Path(tempfile.mkdtemp())
    for group in groups:
        if not sys.argv[1:] or group.__name__ in sys.argv[1:]:
            for name, picture in group(work):
                (IMAGES / f"{name}.png").write_bytes(small(picture))
    shutil.rmtree(work)
    total = sum(path.stat().st_size for path in IMAGES.glob("*.png"))
    print(f"{len(list(IMAGES.glob('*.png')))} pictures, {total / 1000:.0f} KB")


if __name__ == "__main__":
    main()
