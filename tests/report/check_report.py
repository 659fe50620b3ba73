"""Opens a report in headless Chromium and uses it: check_report.py REPORT.html [SCREENSHOT.png [DRAWN.html ...]]

The report must be of a run with features, qk, a diff, words and layer prompts at several steps. Those drawn in other ways are of two images, qk and a diff with
layer prompts, and have the values as npy beside them.
"""
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from browser import Browser, Checks


check = Checks()


def point_at(browser, selector):
    box = browser.js(f"(() => {{ const e = document.querySelector('{selector}'); e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();"
                     "return [b.x + b.width / 2, b.y + b.height / 2]; })()")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    time.sleep(0.5)


def texts(browser, selector):
    return browser.js(f"Array.from(document.querySelectorAll('{selector}'), e => e.textContent)")


def page_of_less(page, path, last):
    """The page as it would be if the run had captured one block's features only: of a model whose last block is `last`, with AND's weights and a prompt that is scheduled."""
    text = page.read_text()
    begin = text.index(">", text.index('id="manifest"')) + 1
    end = text.index("</script>", begin)
    manifest = json.loads(text[begin:end])
    run = manifest["run"]
    manifest["files"] = [f for f in manifest["files"] if f["source"] == "image" or f["kind"] == "features" and f["block"] == "OUT05"]
    manifest["contexts"] = [{"text": "red"}, {"text": "green"}, {"text": "square"}, {"text": "bad"}]
    stretch = {"first": "IN00", "last": last, "variant": "enabled"}
    run["prompts"] = [stretch | row | {"until": until} for until, context in ((2, 0), (4, 1))
                      for row in ({"side": "cond", "context": context}, {"side": "cond", "context": 2, "part": 1, "weight": 0.5}, {"side": "uncond", "context": 3})]
    count = int(last[3:]) + 1
    run["blocks"] = [{"name": name, "channels": 8, "attention_depth": 0 if name == "IN00" else 1, "heads": 0 if name == "IN00" else 5}
                     for name in [f"IN{i:02}" for i in range(count)] + ["M00"] + [f"OUT{i:02}" for i in range(count)]]
    path.write_text(text[:begin] + json.dumps(manifest).replace("<", "\\u003c") + text[end:])


def page_of_models(page, path, loras, other):
    """The page as it would be if the run had compared two models."""
    text = page.read_text().replace('"variant": "erased"', '"variant": "other"').replace('"variant":"erased"', '"variant":"other"')
    begin = text.index(">", text.index('id="manifest"')) + 1
    end = text.index("</script>", begin)
    manifest = json.loads(text[begin:end])
    manifest["run"] |= {"model": "demo", "loras": loras, "other": other, "steps": 3}
    for f in manifest["files"]:
        if f.get("kind") == "diff":
            f["variant"] = "other"
    path.write_text(text[:begin] + json.dumps(manifest).replace("<", "\\u003c") + text[end:])


def check_models(browser, page, captions, heading):
    """What is compared is called by its name."""
    browser.call("Page.navigate", url=page.as_uri())
    check(browser.eventually(f"location.href === '{page.as_uri()}' && document.querySelectorAll('#layerrows tr').length > 0"), "the page of two models opens")
    check(texts(browser, "#pictures figcaption") == captions, f"the pictures are {captions}")
    check(texts(browser, "#differencename") == [heading], f"the differences are: {heading}")
    check(f"output {captions[0]} minus the one {captions[1]}," in browser.js("document.getElementById('differencehint').textContent"), f"{captions}: what is subtracted")
    check(browser.js("document.getElementById('parameters').textContent").startswith("4 steps of Euler a (3 run) · "), "as many steps as asked for, and as are run")
    browser.js("(() => { const k = document.getElementById('kind'); k.value = 'diff'; k.dispatchEvent(new Event('change')); })()")
    check("layer prompts" not in browser.js("document.body.innerText"), f"{captions}: nothing is said of layer prompts")
    check("prompt" in texts(browser, "#row option"), f"{captions}: a difference is of neither twin")


def check_less(browser, page, last):
    """A run that captured one block: all of the model's blocks are there nevertheless."""
    count = int(last[3:]) + 1
    blocks = [f"IN{i:02}" for i in range(count)] + ["M00"] + [f"OUT{i:02}" for i in range(count)]
    browser.call("Page.navigate", url=page.as_uri())
    check(browser.eventually(f"location.href === '{page.as_uri()}' && document.querySelectorAll('#layerrows tr').length > 0"), "the page of one block opens")
    check(texts(browser, "#blocks button") == blocks, f"to {last}: every block has a button")
    check(texts(browser, "#layerrows td:first-child") == blocks, f"to {last}: the table has every block")
    check(texts(browser, "#blocks button:enabled") == ["OUT05"], f"to {last}: what was captured can be chosen")
    check(texts(browser, "#layerhead th") == ["block", "attention", "prompt", "prompt, part 2, weight 0.5", "negative prompt", "shown here"], f"to {last}: the table's head")
    check(texts(browser, "#layerrows tr:first-child td") == ["IN00", "none", "to step 2: red\nto step 4: green", "square", "bad", ""],
          f"to {last}: only what changes names steps")
    check(texts(browser, "#layerrows tr:last-child td:nth-child(2)") == ["5 heads"], f"to {last}: what attends without being captured")


def shown_values(maps, column, color, transform):
    """What a canvas of [heads, tokens, h, w] tells of a token's values, [heads, h, w]: shares of a scale, each tile's own or the canvas's, or values; None where it does not surely tell."""
    name, _, numbers = transform.partition(":")
    cut = color == "white-black" and (name == "auto11" or (name == "sigmoid" and float(numbers.split(",")[1]) < 0))
    if cut or color not in ("white-black", "red-blue", "hsl:(2+v)/3;1.0;0.5"):
        return None
    values = maps[:, column]
    if name == "linear":
        low, high = (float(number) for number in numbers.split(","))
        return values.clip(low, high)
    if name == "sigmoid":
        return values
    of = maps if numbers == "canvas" else values
    axes = None if numbers == "canvas" else (1, 2)
    low, high = (extreme(of, axes, keepdims=axes is not None) for extreme in (np.min, np.max))
    return (values - low) / (high - low) * (2 if name == "auto11" else 1) - (name == "auto11")


def check_drawn(browser, page):
    """A run drawn in another way: the map of a token is what its values are, in its own words' place of the run without layer prompts, or there is none."""
    browser.call("Page.navigate", url=page.as_uri())
    check(browser.eventually(f"location.href === '{page.as_uri()}' && document.querySelectorAll('#layerrows tr').length > 0"), f"{page} opens")
    run = json.loads((page.parent / "manifest.json").read_text())["run"]
    style = f"{run['color']} {run['transform']}"
    told = browser.js("undo !== null")
    check(told == ((browser.js("document.querySelectorAll('#tokenlist button').length")) > 0), f"{style}: tokens are there to be pointed at, or not")
    check(told != ("do not tell the values" in browser.js("document.getElementById('tokenhint').textContent")), f"{style}: or it says why not")
    check("seeds 9007199254740993 to 9007199254740994" in browser.js("document.getElementById('parameters').textContent"), "both images' seeds are said, to the digit")
    names = ["image 0, with layer prompts", "image 1, with layer prompts", "image 0, without layer prompts", "image 1, without layer prompts"]
    check(sorted(texts(browser, "#pictures figcaption")) == sorted(names), f"pictures have their numbers: {texts(browser, '#pictures figcaption')}")
    for variant, column in (("", 3), ("erased-", 2)):  # of "circle", which "red" stands before
        expected = shown_values(np.load(page.parent / f"001-attn-IN05-001-{variant}qk.npy"), column, run["color"], run["transform"])
        check(told == (expected is not None), f"{style}: a map is there where colours tell it")
        if expected is None or not told:
            continue
        found = browser.js(f"(async () => Array.from((await valuesOf(mapFile(1, '{variant[:-1] or 'enabled'}'), {column})).values))()")
        span = np.ptp(expected.mean(0))
        # A byte is a 256th of what a tile's colours reach over; a sigmoid's is more values towards its ends.
        reach = {"linear": lambda n: n[1] - n[0], "sigmoid": lambda n: 4 / abs(n[0])}.get(run["transform"].split(":")[0], lambda n: 2)
        byte = reach([float(n) for n in run["transform"].partition(":")[2].split(",") if n not in ("", "canvas")]) / 256
        off = np.abs(np.array(found) - expected.mean(0).ravel()).max()
        check(off <= 1.5 * byte and span > 2 * byte, f"{style} {variant}: values are {off:.3g} off, of {span:.3g}")


def check_erased(browser, page):
    """Pointed at, a word is shown at its own place of the run without layer prompts; one that it lacks is said to lack."""
    tokens = json.loads((page.parent / "tokens.json").read_text())
    for word, there in (("circle", True), ("red", False)):
        browser.js(f"[...document.querySelectorAll('#tokenlist button')].find(b => b.textContent === '{word}').onmouseenter()")
        caption = "document.querySelectorAll('#pictures figcaption')[1].textContent"
        check(browser.eventually(f"{caption}.includes('\"{word}\"')"), f"{word} is pointed at")
        said = browser.js(caption)
        check(("not in the prompt of" not in said) == there, f"without layer prompts: {said}")
        check(browser.js("document.querySelectorAll('.frame canvas')[1].classList.contains('on')") == there, f"{word} has a map there, or none")
        browser.js("document.querySelector('#tokenlist button').onmouseleave()")
    context = browser.js("mapFile(0, 'erased').context")
    at = next(column["column"] for column in tokens[context]["columns"] if column["text"] == "circle")
    check(browser.js("columnIn(mapFile(0, 'erased').context, tokens[listed].columns.find(c => c.text === 'circle')).column") == at, "circle's own place")


def main():
    page = Path(sys.argv[1]).resolve()
    browser = Browser()
    browser.call("Page.navigate", url=page.as_uri())
    check(browser.eventually("document.readyState === 'complete' && document.getElementById('shown') && document.getElementById('shown').naturalWidth > 0"),
          "the page opens")
    manifest = json.loads((page.parent / "manifest.json").read_text())
    files = manifest["files"]

    check(browser.js("document.querySelectorAll('#pictures img').length") == sum(f["source"] == "image" for f in files), "all pictures are there")
    check(browser.eventually("[...document.querySelectorAll('#pictures img')].every(i => i.complete && i.naturalWidth)"), "every picture is decoded")
    check(browser.js("document.querySelector('script.png') !== null && document.querySelectorAll('script.png').length")
          == sum(f["file"].endswith(".png") for f in files), "every picture of the manifest is in the page")
    check(browser.js("document.getElementById('parameters').textContent").startswith("4 steps of Euler a · "), "the steps are those that were asked for")
    check(manifest["run"]["prompt"] in browser.js("document.getElementById('title').textContent"), "the prompt is the title")

    # The slider.
    steps = sorted({f["step"] for f in files if f.get("kind") == "features"})
    seen = []
    for i in range(len(steps)):
        browser.js(f"(() => {{ const s = document.getElementById('step'); s.value = {i}; s.dispatchEvent(new Event('input')); }})()")
        time.sleep(0.2)
        seen.append(browser.js("document.getElementById('caption').textContent + document.getElementById('shown').src"))
    check(len(set(seen)) == len(steps) > 1, "each step of the slider shows another picture")
    check(all(f"step {s}:" in text for s, text in zip(steps, seen)), "the caption names the slider's step")

    # Blocks and kinds.
    name = next(f["block"] for f in reversed(files) if f.get("kind") == "features")
    browser.js(f"[...document.querySelectorAll('#blocks button')].find(b => b.textContent === '{name}').click()")
    check(browser.js("document.getElementById('caption').textContent").startswith(name + ","), "a block's button shows that block")
    for kind in sorted({f["kind"] for f in files if f.get("block")}):
        browser.js(f"(() => {{ const k = document.getElementById('kind'); k.value = '{kind}'; k.dispatchEvent(new Event('change')); }})()")
        check(browser.eventually("document.getElementById('shown').complete && document.getElementById('shown').naturalWidth > 0"), f"{kind} is shown")

    # A token, pointed at: a map appears over the picture, and another one for another token.
    maps = []
    count = browser.js("document.querySelectorAll('#tokenlist button').length")
    check(count > 2, "the prompt's tokens are listed")
    for i in (2, 3):
        selector = f"#tokenlist button:nth-child({i})"
        text = browser.js(f"document.querySelector('{selector}').textContent")
        for _ in range(20):
            point_at(browser, selector)
            named, shown = browser.js("(() => { const f = document.querySelector('.frame'), c = f.querySelector('canvas');"
                                      "return [f.nextSibling.textContent, c.classList.contains('on') && c.toDataURL()]; })()")
            if shown and f'"{text}"' in named:
                break
        maps.append(shown)
        spread = browser.js("(() => { const c = document.querySelector('.frame canvas'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
                            "return new Set(Array.from({length: d.length / 4}, (_, i) => d[4 * i] << 16 | d[4 * i + 1] << 8 | d[4 * i + 2])).size; })()")
        check(spread > 16, "the token's map is not one colour")
    check(all(maps) and maps[0] != maps[1], "two tokens have two maps")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    check(browser.eventually("!document.querySelector('.frame canvas').classList.contains('on')"), "the map goes when nothing is pointed at")

    browser.js("[...document.querySelectorAll('#blocks button')].find(b => b.textContent === 'IN05').click()")
    check_erased(browser, page)

    # The chart.
    blocks = {f["block"] for f in files if f.get("kind") == "diff"}
    check(browser.js("document.querySelectorAll('#chart .bar').length") == len(blocks), "the chart has a bar for each block")
    check(browser.js("[...document.querySelectorAll('#chart .bar')].some(b => b.height.baseVal.value > 10)"), "the bars have heights")
    browser.js("document.querySelectorAll('#chart .bar')[1].dispatchEvent(new MouseEvent('click'))")
    check(browser.js("document.querySelectorAll('#chart .bar')[1].classList.contains('on')"), "a bar chooses its block")

    check(browser.js("document.querySelectorAll('#wordlist img').length") == sum(f.get("kind") in ("heat", "overlay") for f in files), "words' pictures are there")
    check(browser.js("document.querySelectorAll('#layerrows tr').length") == 25, "the table has every block")
    check(browser.js("document.querySelectorAll('b, i').length") == 0, "no markup comes from the run's texts")

    if len(sys.argv) > 2:
        browser.shoot(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        pages = {last: Path(folder) / f"{last}.html" for last in ("OUT11", "OUT08")}
        for last, less in pages.items():
            page_of_less(page, less, last)
            check_less(browser, less, last)
        for i, (loras, other, captions, heading) in enumerate((
                ("<lora:a:1>", {"model": "demo", "loras": ""}, ["with LoRAs", "without LoRAs"], "What the LoRAs change"),
                ("<lora:a:1>", {"model": "demo", "loras": "<lora:a:0.5>"}, ["with <lora:a:1>", "with <lora:a:0.5>"], "What the LoRAs change"),
                ("", {"model": "sd-other", "loras": ""}, ["by demo", "by sd-other"], "How the models differ"))):
            pages[i] = Path(folder) / f"models{i}.html"
            page_of_models(page, pages[i], loras, other)
            check_models(browser, pages[i], captions, heading)
    drawn = [Path(path).resolve() for path in sys.argv[3:]]
    for path in drawn:
        check_drawn(browser, path)
    check(not browser.said(), f"the console is silent: {browser.said()[:2]}")
    asked = browser.asked()
    own = ("data:", "about:", page.as_uri(), *(path.as_uri() for path in drawn), *(less.as_uri() for less in pages.values()))
    check(not [u for u in asked if not u.startswith(own)], f"nothing is fetched: {[u[:80] for u in asked][:3]}")
    browser.close()
    print(f"{check.passed} passed, {len(check.failures)} failed")
    return bool(check.failures)


if __name__ == "__main__":
    sys.exit(main())
