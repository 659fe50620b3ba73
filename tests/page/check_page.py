"""Uses `unetdump ui` in headless Chromium, from a prompt to a saved canvas: check_page.py UNETDUMP MODEL FOLDER

UNETDUMP: the Python package's command. FOLDER gets the runs, what is downloaded, and screenshots. Sizes and steps are small; all compared
bytes are those of the command that the page itself names.
"""
import contextlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "report"))
from browser import Browser, Checks  # noqa: E402

PROMPT = "a (~: _: red; OUT06-OUT08: green :~) circle on a blue background"
check = Checks()


class Tab:
    """A tab of the browser that has the page open."""

    def __init__(self, browser, url, width=1400):
        self.browser, browser.session = browser, None
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session, self.target = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"], target
        browser.session = self.session
        for domain in ("Page", "Runtime", "Log", "Network"):
            browser.call(domain + ".enable")
        self.look(width, "light")
        browser.call("Page.navigate", url=url)
        check(self.until("!!document.querySelector('#generate') && !!document.querySelector('svg.unet')", 60), "the page opens")

    def front(self):
        """Turns to this tab: what lies behind another is not drawn."""
        if self.browser.session != self.session:
            self.browser.session = self.session
            self.browser.call("Page.bringToFront")

    def js(self, expression):
        self.front()
        return self.browser.js(expression)

    def until(self, expression, seconds=60):  # a busy machine takes its time
        self.front()
        return self.browser.eventually(expression, seconds)

    def look(self, width, scheme):
        self.front()
        self.browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.browser.call("Emulation.setDeviceMetricsOverride", width=width, height=1200, deviceScaleFactor=1, mobile=False)

    def write(self, selector, text):
        """Types into a field, as far as the page can tell."""
        self.there(selector)
        self.js(f"(() => {{ const e = document.querySelector('{selector} :is(textarea, input:not([type=range]))');"
                "const kind = e.tagName === 'TEXTAREA' ? HTMLTextAreaElement : HTMLInputElement;"
                f"Object.getOwnPropertyDescriptor(kind.prototype, 'value').set.call(e, {json.dumps(text)});"
                "for (const name of ['input', 'change', 'blur']) e.dispatchEvent(new Event(name, {bubbles: true})); })()")

    def read(self, selector):
        return self.js(f"document.querySelector('{selector} :is(textarea, input)').value")

    def text(self, selector):
        return self.js(f"document.querySelector('{selector}')?.textContent ?? ''")

    def there(self, selector):
        """Waits for what the page makes when it is opened."""
        if not self.until(f"document.querySelector(`{selector}`) !== null"):
            raise SystemExit(f"no {selector} on the page")

    def press(self, selector):
        self.there(selector)
        self.js(f"document.querySelector('{selector}').click()")

    def turn(self, selector, on):
        """A box, until it stays so: a click on a page that is being drawn can be lost."""
        self.there(selector)
        wanted = f"document.querySelector('{selector}')?.checked === {'true' if on else 'false'}"
        for _ in range(20):
            if self.js(wanted):
                time.sleep(0.5)
                if self.js(wanted):
                    return
            else:
                self.press(selector)
        check(False, f"{selector} turns {'on' if on else 'off'}")

    def tab(self, name, then):
        """Opens a panel, whose fields are there once it is open."""
        self.js(f"[...document.querySelectorAll('button[role=tab]')].find(t => t.textContent.trim() === '{name}').click()")
        check(self.until(f"!!document.querySelector('{then}')"), f"{name} opens")

    def give(self, selector, path):
        """A file to a field that takes one."""
        self.there(selector)
        document = self.browser.call("DOM.getDocument")["root"]["nodeId"]
        field = self.browser.call("DOM.querySelector", nodeId=document, selector=selector)
        self.browser.call("DOM.setFileInputFiles", nodeId=field["nodeId"], files=[str(path)])

    def click(self, selector, x=0.5, y=0.5):
        """The mouse, at a part of the element's width and height."""
        self.there(selector)
        box = self.js(f"(() => {{ const e = document.querySelector('{selector}'); e.scrollIntoView({{block: 'center'}});"
                      f"const b = e.getBoundingClientRect(); return [b.x + b.width * {x}, b.y + b.height * {y}]; }})()")
        for kind in ("mousePressed", "mouseReleased"):
            self.browser.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def shoot(self, path):
        self.front()
        time.sleep(0.5)  # for what moves
        self.browser.shoot(path)


def status_of(url, data=None, **headers):
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def check_server(url, runs):
    check(status_of(url) == 200, "the server answers")
    check(status_of(url, Host="evil.example") == 400, "it answers to its own name alone")
    own, port = url.rstrip("/"), url.rstrip("/").rpartition(":")[2]
    for path, data in (("", None), ("gradio_api/info", None), ("gradio_api/queue/join", b"{}")):
        check(status_of(url + path, data, Origin=own) != 403, f"/{path}: its own page may ask")
        for origin in ("https://evil.example", "null", f"http://127.0.0.1.evil.example:{port}", "http://127.0.0.1:1", f"http://localhost:{port}"):
            check(status_of(url + path, data, Origin=origin) == 403, f"/{path}: a page of {origin} may not")
    check(status_of(url, Origin=f"http://localhost:{port}", Host=f"localhost:{port}") == 200, "this machine's other name is one's own where it is asked")
    (runs / "own.txt").write_text("x")
    check(status_of(f"{url}gradio_api/file={runs}/own.txt") == 200, "its own folder is served")
    for path in ("/etc/passwd", Path(__file__).resolve(), f"{runs}/../check_page.py", runs.parent / "secret.txt"):
        check(status_of(f"{url}gradio_api/file={path}") in (403, 404), f"{path} is not served")
    (runs / "own.txt").unlink()


def check_colours(tab):
    tab.press("#colorization button")
    check(tab.until("!!document.querySelector('#color-preview img')"), "the colours have a preview")
    before = tab.js("document.querySelector('#color-preview img').src")
    tab.write("#color-H", "abs(v)")
    check(tab.until(f"document.querySelector('#color-preview img')?.src !== {json.dumps(before)}"), "it follows what is typed")
    tab.write("#color-H", "abs(w)")
    check(tab.until("document.querySelector('#color-preview .problem') !== null"), "a wrong expression is said")
    check("H: unknown name" in tab.text("#color-preview .problem"), "in its own place")
    check(tab.text("#color-preview .caret") == "abs(w)\n    ^", "with a caret")
    tab.write("#color-H", "(2+v)/3")
    check(tab.until("document.querySelector('#color-preview .problem') === null"), "and goes when it is mended")
    tab.press("#colorization button")


def check_drawing(tab):
    tab.press("#features-info button")
    chosen = "[...document.querySelectorAll('#features-drawing [aria-checked=true]')].map(b => b.dataset.block).sort().join()"
    check(len(tab.js(chosen).split(",")) == 25, "an empty spec is all blocks")
    tab.click("#features-drawing [data-block=OUT05] rect")
    check(tab.until("document.querySelector('#features-layers textarea, #features-layers input').value === 'OUT05'"), "a click chooses a block")
    check(tab.until(f"{chosen} === 'OUT05'"), "and the drawing shows it")
    tab.write("#features-layers", "IN04-IN06,OUT05")
    check(tab.until(f"{chosen} === 'IN04,IN05,IN06,OUT05'"), "the drawing follows the spec")
    check(tab.until("document.querySelectorAll('#features-table tr.on').length === 4"), "and so does the table")
    tab.click("#features-table [data-block=M00] td")
    check(tab.until(f"{chosen} === 'IN04,IN05,IN06,M00,OUT05'"), "whose rows can be clicked on")
    tab.click("#features-table [data-block=M00] td")
    check(tab.until(f"{chosen} === 'IN04,IN05,IN06,OUT05'"), "on and off")
    tab.js("document.querySelector('#features-drawing [data-block=IN05]').focus()")
    for kind in ("keyDown", "keyUp"):
        tab.browser.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13)
    check(tab.until(f"{chosen} === 'IN04,IN06,OUT05'"), "Enter chooses, too")
    check(tab.until("document.activeElement.dataset.block === 'IN05'"), "and the focus stays")
    tab.write("#features-layers", "IN04,IN99")
    check(tab.until("document.querySelector('#features-problem .caret')?.textContent === 'IN04,IN99\\n     ^'"), "a wrong spec is said, with a caret")
    tab.write("#features-layers", "IN05,OUT05")
    check(tab.until("document.querySelector('#features-problem .problem') === null"), "and goes")


def check_numbers(tab):
    """What is no number that can be is said when it is used; what follows it goes on."""
    tab.write("#prompt", "a circle")
    for selector, wrong, right, label in (("#steps", "2.5", "20", "Sampling steps"), ("#seed", "1.5", "-1", "Seed"), ("#seed", "1e20", "-1", "Seed")):
        tab.write(selector, wrong)
        time.sleep(1)
        tab.press("#generate")
        check(tab.until(f"document.querySelector('#status .problem')?.textContent.startsWith('{label}: bad value')", 10), f"{label} {wrong}: {tab.text('#status')}")
        tab.write(selector, right)
        time.sleep(0.5)
    steps = "document.querySelector('#features-steps :is(textarea, input)').value"
    tab.write("#steps", "1")
    check(tab.until(f"{steps} === '1'"), f"one step is looked at: {tab.read('#features-steps')}")
    tab.write("#steps", "150")
    check(tab.until(f"{steps} === '75,150'"), f"half-way and the last again: {tab.read('#features-steps')}")


def check_stop(tab, runs):
    """A long run: the gallery fills, the bar moves, Stop ends it."""
    tab.write("#steps", "150")
    check(tab.until("document.querySelector('#features-steps :is(textarea, input)').value === '75,150'"), "steps follow their number")
    tab.write("#features-steps", "")
    tab.tab("Attention", "#attention-enabled input")
    tab.turn("#attention-enabled input", on=False)
    tab.press("#generate")
    count = "document.querySelectorAll('#gallery .grid-container img, #gallery .thumbnails img').length"
    check(tab.until(f"{count} > 1"), "the gallery fills while it samples")
    first = tab.js(count)
    check(tab.js("document.querySelector('#status .status.running') !== null"), "which goes on")
    width = tab.js("parseFloat(document.querySelector('#status i').style.width)")
    check(tab.until(f"{count} > {first}") and tab.until(f"parseFloat(document.querySelector('#status i').style.width) > {width}"),
          "more comes, and the bar moves")
    tab.press("#stop")
    check(tab.until("!!document.querySelector('#status .status.stopped')"), "Stop ends it")
    step = re.search(r"Stopped at step (\d+) of 150", tab.text("#status"))
    check(step and int(step[1]) < 150, "before its end")
    check(not (runs / "0001" / "manifest.json").exists() and list((runs / "0001").glob("*.png")), "what was written stays, without a manifest")
    check(tab.until("!document.querySelector('#generate').disabled"), "and another can begin")
    tab.turn("#attention-enabled input", on=True)
    tab.write("#attention-steps", "4")


def check_run(tab, runs, folder, unetdump):
    """A run with everything; its folder is the one that the command writes."""
    tab.write("#prompt", PROMPT.replace(":~)", "~)"))
    check(tab.until("!!document.querySelector('#prompt-problem .caret')") and "layer prompts" in tab.text("#prompt-problem"), "a wrong prompt is said")
    tab.write("#prompt", PROMPT)
    tab.tab("U-Net features", "#features-steps")
    tab.write("#features-steps", "2,4")
    tab.tab("Layer Prompt", "#diff-enabled input")
    check(tab.until("document.querySelectorAll('#own-prompts tbody tr').length === 3"), "each block's own prompt is shown")
    check("OUT06-OUT08" in tab.text("#own-prompts"), "with its blocks")
    tab.write("#steps", "4")
    tab.write("#cfg", "3.5")
    tab.write("#seed", "1")
    tab.turn("#diff-enabled input", on=True)
    tab.write("#diff-steps", "4")
    time.sleep(1)
    tab.press("#generate")
    check(tab.until("!!document.querySelector('#status .status.done')", 120), f"a run ends: {tab.text('#status')}")
    check(tab.until("document.querySelector('#viewer img.picture')?.naturalWidth === 128"), "its picture is shown")
    check(tab.until("document.querySelectorAll('#moved .bar').length === 25"), "how far every block moved is shown")
    check(tab.until("document.querySelectorAll('#gallery img').length > 50"), "all its maps are in the gallery")
    tab.press("#files-panel button")
    check(tab.until("!!document.querySelector('#files .command')"), "its files are listed")

    command = shlex.split(tab.text("#files .command"))
    command[0], command[command.index("-o") + 1] = unetdump, str(folder / "command")
    subprocess.run([*command, "--quiet", "--threads", "1"], check=True)
    mine, theirs = ({p.name: p.read_bytes() for p in path.iterdir()} for path in (runs / "0002", folder / "command"))
    check(sorted(mine) == sorted(theirs) and len(mine) > 60, f"the command of the page writes the same files: {sorted(set(mine) ^ set(theirs))[:4]}")
    pictures = [name for name in mine if name.endswith((".png", ".csv")) or name == "tokens.json"]
    check(all(mine[name] == theirs.get(name) for name in pictures), "to the byte")
    listed = [json.loads(files["manifest.json"])["files"] for files in (mine, theirs)]
    check(listed[0] == listed[1], "and lists them in the same manifest")

    name = "000-unet-OUT05-004.png"
    tab.press(f"#files a[download=\"{name}\"]")
    saved = folder / "downloads" / name
    for _ in range(100):
        if saved.exists() and saved.stat().st_size == len(theirs[name]):
            break
        time.sleep(0.1)
    check(saved.exists() and saved.read_bytes() == theirs[name], "a canvas that is saved is the command's, byte for byte")


def check_clicks(tab):
    """Tokens and points show their maps."""
    picture = "document.querySelector('#viewer img.picture').src"
    plain = tab.js(picture)
    shown = {plain}
    check(tab.js("document.querySelectorAll('#viewer .tokens .prompt').length") == 2, "both prompts' tokens are there")
    for word in ("circle", "blue"):
        at = tab.js(f"[...document.querySelectorAll('#viewer .tokens button')].findIndex(b => b.textContent === '{word}')")
        tab.js(f"document.querySelectorAll('#viewer .tokens button')[{at}].id = 'wanted'")
        tab.click("#wanted")
        check(tab.until(f"document.querySelector('#viewer .said').textContent.includes('\"{word}\" is seen')"), f"{word} can be clicked on")
        shown.add(tab.js(picture))
    check(len(shown) == 3, "each token has a map of its own")
    check(tab.js("document.querySelectorAll('#viewer .by-block img').length") > 8, "by block, too")
    for x, y in ((0.5, 0.6), (0.1, 0.1)):
        tab.click("#viewer img.picture", x, y)
        check(tab.until(f"document.querySelector('#viewer .said').textContent.includes('point {int(128 * x)}, {int(128 * y)} ')"), "a point can be clicked on")
        check(tab.js("document.querySelector('#viewer .mark') !== null"), "and is marked")
        shown.add(tab.js(picture))
    check(len(shown) == 5, "each point has a map of its own")
    tab.press("#viewer .clear")
    check(tab.until(f"{picture} === {json.dumps(plain)}"), "and back to the picture")


def check_pictures(tab, runs, folder, unetdump):
    """A picture's parameters fill the fields; a run begins from a picture."""
    made = runs / "0002" / "000.png"
    tab.write("#prompt", "something else")
    tab.write("#cfg", "9")
    tab.give("input[type=file]:has(+ #read)", made)
    check(tab.until("document.querySelector('#read-said').textContent.includes('are in the fields')"), f"a picture is read: {tab.text('#read-said')}")
    check(tab.until(f"document.querySelector('#prompt textarea').value === {json.dumps(PROMPT)}"), "its prompt is in the field")
    check((tab.read("#cfg"), tab.read("#seed"), tab.read("#steps")) == ("3.5", "1", "4"), "and its numbers")
    Image.new("RGB", (64, 64)).save(folder / "says-nothing.png")
    tab.give("input[type=file]:has(+ #read)", folder / "says-nothing.png")
    check(tab.until("!!document.querySelector('#read-said .problem')"), f"a picture that says nothing is refused: {tab.text('#read-said')}")

    beyond = PngInfo()
    beyond.add_text("parameters", "a grey square\nSteps: 160, Sampler: Euler, CFG scale: 40, Seed: 7, Size: 32x48")
    Image.new("RGB", (32, 48)).save(folder / "beyond.png", pnginfo=beyond)
    tab.give("input[type=file]:has(+ #read)", folder / "beyond.png")
    check(tab.until("document.querySelector('#prompt textarea').value === 'a grey square'"), "a picture beyond the sliders' ends is read")
    tab.press("#generate")
    check(tab.until("document.querySelector('#files .command').textContent.includes('grey square')", 120), f"and made: {tab.text('#status')}")
    check("--width 32 --height 48 --steps 160 --sampler Euler --cfg 40 --seed 7" in tab.text("#files .command"), "with its own numbers")
    tab.give("input[type=file]:has(+ #read)", made)
    check(tab.until(f"document.querySelector('#prompt textarea').value === {json.dumps(PROMPT)}"), "the first picture is read again")

    tab.press("#image-to-image button")
    tab.give("#init input[type=file]", made)
    check(tab.until("!!document.querySelector('#init img')"), "a picture to begin from is shown")
    tab.write("#strength", "0.5")
    check(tab.until("document.querySelector('#features-steps :is(textarea, input)')?.value === '1,3'"), "the steps of a panel follow: it takes fewer")
    tab.write("#prompt", "a <lora:x:1> square")
    check(tab.until("document.querySelector('#prompt-problem .caret')?.textContent === 'a <lora:x:1> square\\n  ^'"), "a tag of a LoRA is no word")
    tab.write("#prompt", "a blue square")
    tab.write("#seed", "7")
    tab.tab("Layer Prompt", "#diff-enabled input")
    tab.turn("#diff-enabled input", on=False)
    time.sleep(1)
    tab.press("#generate")
    check(tab.until("document.querySelector('#files .command').textContent.includes('blue square')", 120), f"a run from a picture ends: {tab.text('#status')}")
    command = shlex.split(tab.text("#files .command"))
    check("--init" in command and "--strength" in command, "its command names the picture")
    command[0], command[command.index("-o") + 1] = unetdump, str(folder / "from-picture")
    subprocess.run([*command, "--quiet", "--threads", "1"], check=True)
    mine = max(path for path in runs.iterdir() if path.name.isdigit()) / "000.png"
    check(mine.read_bytes() == (folder / "from-picture" / "000.png").read_bytes() != made.read_bytes(), "which writes the same picture")
    tab.js("document.querySelector('#more-sampling button').click()")
    tab.shoot(folder / "page-from-picture.png")
    tab.press("#init button[aria-label*=Remove], #init button[aria-label*=Clear]")
    check(tab.until("!document.querySelector('#init img')"), "and it can be taken away")
    tab.give("#init input[type=file]", made)
    tab.write("#clip-skip", "2")
    check(tab.until("!!document.querySelector('#init img')"), "another is shown")
    tab.give("input[type=file]:has(+ #read)", mine)
    check(tab.until("document.querySelector('#read-said').textContent.includes('but for the picture that it began from')"), f"its picture is not in it: {tab.text('#read-said')}")
    check(tab.until("!document.querySelector('#init img')") and tab.read("#clip-skip") == "1", "and nothing stays of what was in the fields")
    (folder / "no-picture.png").write_text("no picture")
    tab.give("#init input[type=file]", folder / "no-picture.png")
    check(tab.until("!!document.querySelector('#init img')"), "what is no picture is taken")
    time.sleep(1)
    tab.press("#generate")
    check(tab.until("document.querySelector('#status .problem')?.textContent === 'no-picture.png: not a picture that can be read'"), f"and refused: {tab.text('#status')}")
    tab.press("#init button[aria-label*=Remove], #init button[aria-label*=Clear]")
    check(tab.until("!document.querySelector('#init img')"), "and goes")
    tab.press("#image-to-image button")


def check_tabs(browser, first, url):
    """Two tabs share the model, and nothing else."""
    picture = first.js("document.querySelector('#viewer img.picture').src")
    second = Tab(browser, url)
    check(second.text("#prompt textarea") == "" and second.js("!document.querySelector('#viewer img')"), "another tab begins empty")
    second.write("#steps", "2")
    for selector, number in (("#steps", "150"), ("#width", "256"), ("#height", "256")):  # half a minute
        first.write(selector, number)
    second.write("#prompt", "a green square")
    time.sleep(1)
    first.press("#generate")
    check(first.until("!!document.querySelector('#status .status.running')"), "one tab samples")
    second.press("#generate")
    check(second.until("document.querySelector('#status').textContent.includes('Waiting for 1 other run')"), "the other waits for it, and says so")
    second.press("#stop")
    check(second.until("!!document.querySelector('#status .status.stopped') && !document.querySelector('#generate').disabled", 10), "Stop ends what waits at once")
    check(first.js("!!document.querySelector('#status .status.running')"), "and nothing else")
    second.press("#generate")
    check(second.until("document.querySelector('#status').textContent.includes('Waiting for 1 other run')"), "another takes its place")
    first.press("#stop")
    check(second.until("!!document.querySelector('#status .status.done')", 120), "and goes on when it ends")
    check(first.until("!!document.querySelector('#status .status.stopped')"), "each has its own end")
    check(second.until("document.querySelector('#viewer img.picture')?.naturalWidth === 128"), "and its own picture")
    check(second.js("document.querySelector('#viewer img.picture').src") != picture, "which is another")
    # 150 steps at 512 x 512 take minutes: who closes the tab ends its run.
    for selector, number in (("#steps", "150"), ("#width", "512"), ("#height", "512")):
        second.write(selector, number)
    time.sleep(1)
    second.press("#generate")
    check(second.until("!!document.querySelector('#status .status.running')"), "a long run begins")
    browser.call("Target.closeTarget", targetId=second.target)
    for selector, number in (("#steps", "4"), ("#width", "128"), ("#height", "128")):
        first.write(selector, number)
    check(first.until("document.querySelector('#features-steps :is(textarea, input)').value === '2,4'"), "the steps of a panel follow their number")
    first.press("#generate")
    check(first.until("!!document.querySelector('#status :is(.done, .failed)')", 120) and "Done" in first.text("#status"), f"a tab that is closed ends its run, and the next one begins: {first.text('#status')}")


def take_pictures(tab, folder):
    at = tab.js("[...document.querySelectorAll('#viewer .tokens button')].findIndex(b => b.textContent === 'green')")
    tab.js(f"document.querySelectorAll('#viewer .tokens button')[{at}].click()")
    tab.press("#files-panel button")
    tab.tab("U-Net features", "#features-steps")
    for width, scheme in ((1400, "light"), (1400, "dark"), (800, "light"), (800, "dark"), (420, "light")):
        tab.look(width, scheme)
        time.sleep(0.5)
        check(tab.js("document.documentElement.scrollWidth <= innerWidth"), f"nothing is wider than {width} pixels: {tab.js('document.documentElement.scrollWidth')}")
        tab.shoot(folder / f"page-{width}-{scheme}.png")
    tab.look(1400, "light")


def main():
    unetdump, model, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3]).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    runs = folder / "runs"
    (folder / "downloads").mkdir(parents=True)
    (folder / "secret.txt").write_text("beside the runs' folder")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(subprocess.Popen([unetdump, "ui", "-m", model, "-o", str(runs), "--threads", "1"], stdout=subprocess.PIPE, text=True))
        stack.callback(server.kill)
        told = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())
        check(told, "the server says where it is")
        if not told:
            return 1
        browser = Browser(1400, 1200, reach="127.0.0.1")
        stack.callback(browser.close)
        check_server(told[0], runs)
        tab = Tab(browser, told[0])
        browser.session = None
        browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder / "downloads"))
        check_colours(tab)
        check_drawing(tab)
        check_numbers(tab)
        check_stop(tab, runs)
        check_run(tab, runs, folder, unetdump)
        check_clicks(tab)
        take_pictures(tab, folder)
        check_pictures(tab, runs, folder, unetdump)
        check_tabs(browser, tab, told[0])
        said = [str(e)[:300] for e in browser.said() if "'Method not implemented.'" not in str(e)]  # Gradio's, after each upload
        check(not said, f"the console is silent: {said[:3]}")
        strange = [u for u in browser.asked() if not u.startswith((told[0], "data:", "about:", "blob:" + told[0]))]
        check(not strange, f"nothing is asked of anybody else: {strange[:3]}")
        server.send_signal(signal.SIGINT)
        check(server.wait(20) == 0, "Ctrl-C ends the server")
    print(f"{check.passed} passed, {len(check.failures)} failed")
    return bool(check.failures)


if __name__ == "__main__":
    sys.exit(main())
