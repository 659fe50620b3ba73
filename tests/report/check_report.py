"""Opens a report in headless Chromium and uses it: check_report.py REPORT.html [SCREENSHOT.png]

Speaks Chromium's DevTools protocol over a pipe; needs nothing but the browser. The report must be of a run with features, qk, a diff and
words at several steps.
"""
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


class Browser:
    def __init__(self, width=1280, height=1600):
        out_read, out_write = os.pipe()
        in_read, in_write = os.pipe()

        def plumb():  # the protocol's ends are 3 and 4
            os.dup2(out_read, 5)
            os.dup2(in_write, 6)
            os.dup2(5, 3)
            os.dup2(6, 4)

        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True) # the browser may still be writing there
        self.process = subprocess.Popen(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND",
             f"--user-data-dir={self.profile.name}", f"--window-size={width},{height}", "about:blank"],
            preexec_fn=plumb, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(out_read)
        os.close(in_write)
        self.write, self.read, self.buffer, self.last = out_write, in_read, b"", 0
        self.events = []
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def receive(self):
        while b"\0" not in self.buffer:
            data = os.read(self.read, 1 << 20)
            if not data:
                raise SystemExit("the browser ended")
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if getattr(self, "session", None):
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def js(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise SystemExit(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def close(self):
        self.process.kill()
        self.process.wait()


failures = []
passed = 0


def check(good, what):
    global passed
    if good:
        passed += 1
    else:
        failures.append(what)
        print(f"FAILED: {what}")


def eventually(browser, expression):
    """Whether it comes true within ten seconds: a busy machine takes its time."""
    for _ in range(100):
        if browser.js(expression):
            return True
        time.sleep(0.1)
    return False


def point_at(browser, selector):
    box = browser.js(f"(() => {{ const e = document.querySelector('{selector}'); e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();"
                     "return [b.x + b.width / 2, b.y + b.height / 2]; })()")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    time.sleep(0.5)


def main():
    page = Path(sys.argv[1]).resolve()
    browser = Browser()
    browser.call("Page.navigate", url=page.as_uri())
    check(eventually(browser, "document.readyState === 'complete' && document.getElementById('shown') && document.getElementById('shown').naturalWidth > 0"),
          "the page opens")
    manifest = json.loads((page.parent / "manifest.json").read_text())
    files = manifest["files"]

    check(browser.js("document.querySelectorAll('#pictures img').length") == sum(f["source"] == "image" for f in files), "all pictures are there")
    check(eventually(browser, "[...document.querySelectorAll('#pictures img')].every(i => i.complete && i.naturalWidth)"), "every picture is decoded")
    check(browser.js("document.querySelector('script.png') !== null && document.querySelectorAll('script.png').length")
          == sum(f["file"].endswith(".png") for f in files), "every picture of the manifest is in the page")
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
        check(eventually(browser, "document.getElementById('shown').complete && document.getElementById('shown').naturalWidth > 0"), f"{kind} is shown")

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
    check(eventually(browser, "!document.querySelector('.frame canvas').classList.contains('on')"), "the map goes when nothing is pointed at")

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
        shot = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        Path(sys.argv[2]).write_bytes(base64.b64decode(shot["data"]))
    said = [e for e in browser.events if e["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled")
            or e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] == "error"]
    check(not said, f"the console is silent: {said[:2]}")
    asked = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    check(not [u for u in asked if not u.startswith(("data:", page.as_uri(), "about:"))], f"nothing is fetched: {[u[:80] for u in asked][:3]}")
    browser.close()
    print(f"{passed} passed, {len(failures)} failed")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
