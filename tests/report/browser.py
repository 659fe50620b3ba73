"""Headless Chromium, spoken to in its DevTools protocol over a pipe; needs nothing but the browser."""
import base64
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path


class Checks:
    """What was found good and what not."""

    def __init__(self):
        self.passed, self.failures = 0, []

    def __call__(self, good, what):
        if good:
            self.passed += 1
        else:
            self.failures.append(what)
            print(f"FAILED: {what}")


class Browser:
    def __init__(self, width=1280, height=1600, reach=""):
        """reach: the one address that the browser can reach; without it, none."""
        out_read, out_write = os.pipe()
        in_read, in_write = os.pipe()

        def plumb():  # the protocol's ends are 3 and 4
            os.dup2(out_read, 5)
            os.dup2(in_write, 6)
            os.dup2(5, 3)
            os.dup2(6, 4)

        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True) # the browser may still be writing there
        self.process = subprocess.Popen(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run", f"--host-resolver-rules=MAP * ~NOTFOUND{f', EXCLUDE {reach}' if reach else ''}",
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

    def eventually(self, expression, seconds=10):
        """Whether it comes true within so long: a busy machine takes its time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.js(expression):
                return True
            time.sleep(0.1)
        return False

    def shoot(self, path):
        """The whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def said(self):
        """What the page wrote to the console, and its errors."""
        return [e for e in self.events if e["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled")
                or e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] == "error"]

    def asked(self):
        """The addresses that were asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def close(self):
        self.process.kill()
        self.process.wait()
