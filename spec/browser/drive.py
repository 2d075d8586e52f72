# SPDX-License-Identifier: MIT
"""Opens a page in a headless Chromium, does what it is told, and tells what came of it.

    drive.py CHROMIUM PROFILE FILE < steps.json > results.json

A step is one of { "eval": expression }, { "key": name }, { "move": [x, y] }, { "click": [x, y] },
{ "drag": [x1, y1, x2, y2] }, { "size": [width, height] }, { "dark": true } and
{ "shot": path }. The results are a list with the value of each "eval", and what the console, and
the network, saw: { "values": [...], "console": [...], "requests": [...] }.
"""
import base64
import json
import os
import subprocess
import sys

KEYS = {"ArrowDown": 40, "ArrowUp": 38, "ArrowLeft": 37, "ArrowRight": 39, "Tab": 9, "Enter": 13}


class Browser:
    """DevTools, over the pipe on descriptors 3 and 4."""

    def __init__(self, program, profile):
        to_read, self.out = os.pipe()
        self.back, to_write = os.pipe()

        def place():
            first, second = os.dup(to_read), os.dup(to_write)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self.process = subprocess.Popen(
            [
                program,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-dev-shm-usage",
                "--disable-extensions",
                "--disable-background-networking",
                "--remote-debugging-pipe",
                "--user-data-dir=" + profile,
                "about:blank",
            ],
            preexec_fn=place,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)
        self.number, self.pending, self.session = 0, b"", None
        self.console, self.requests = [], []

    def message(self):
        while b"\0" not in self.pending:
            data = os.read(self.back, 65536)
            if not data:
                raise SystemExit("the browser has gone")
            self.pending += data
        text, self.pending = self.pending.split(b"\0", 1)
        return json.loads(text)

    def note(self, message):
        name, params = message.get("method"), message.get("params", {})
        if name == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(a.get("value")) for a in params["args"]))
        elif name == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description", details["text"]))
        elif name == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif name == "Page.javascriptDialogOpening":
            self.console.append("dialog: " + params["message"])
        elif name == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def call(self, method, **params):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.out, json.dumps(request).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.number:
                if "error" in message:
                    raise SystemExit(method + ": " + message["error"]["message"])
                return message["result"]
            self.note(message)

    def evaluate(self, expression):
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise SystemExit("eval: " + str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def open(self, path):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")
        self.size(1400, 1000)
        self.call("Page.navigate", url="file://" + path)
        self.evaluate(
            """new Promise((ready) => {
            const look = () => (document.readyState === "complete" ? ready(true)
                : setTimeout(look, 10));
            look(); })"""
        )

    def size(self, width, height):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def press(self, x1, y1, x2, y2):
        self.mouse("mouseMoved", x1, y1)
        self.mouse("mousePressed", x1, y1, button="left", buttons=1, clickCount=1)
        if (x1, y1) != (x2, y2):
            self.mouse("mouseMoved", (x1 + x2) / 2, y2, button="left", buttons=1)
            self.mouse("mouseMoved", x2, y2, button="left", buttons=1)
        self.mouse("mouseReleased", x2, y2, button="left", clickCount=1)

    def key(self, name):
        text = {} if len(name) > 1 else {"text": name}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=name,
                windowsVirtualKeyCode=KEYS.get(name, ord(name[0].upper())),
                **text
            )
            text = {}

    def shot(self, path):
        picture = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture))

    def take(self, step, values):
        kind, argument = next(iter(step.items()))
        if kind == "eval":
            values.append(self.evaluate(argument))
        elif kind == "key":
            self.key(argument)
        elif kind == "move":
            self.mouse("mouseMoved", *argument)
        elif kind == "click":
            self.press(*argument, *argument)
        elif kind == "drag":
            self.press(*argument)
        elif kind == "size":
            self.size(*argument)
        elif kind == "dark":
            scheme = {"name": "prefers-color-scheme", "value": "dark" if argument else "light"}
            self.call("Emulation.setEmulatedMedia", features=[scheme])
        elif kind == "shot":
            self.shot(argument)
        else:
            raise SystemExit("no step " + kind)

    def close(self):
        self.session = None
        os.write(self.out, b'{"id":0,"method":"Browser.close"}\0')
        self.process.wait(20)


def main():
    program, profile, path = sys.argv[1:]
    values = []
    browser = Browser(program, profile)
    try:
        browser.open(path)
        for step in json.load(sys.stdin):
            browser.take(step, values)
    finally:
        browser.close()
    json.dump(
        {"values": values, "console": browser.console, "requests": browser.requests}, sys.stdout
    )


main()
