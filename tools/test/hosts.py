# SPDX-License-Identifier: MIT
"""Drives a host that tools/test/hosts.sh has started: hosts.py HOST PORT; or, of one that ends by
itself, writes what it is to read, and checks what it wrote: hosts.py HOST DIR write|check.
"""
import concurrent.futures
import base64
import http.client
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

DOUBLE = {"language": "bash", "code": "execute() { echo $(($1 * 2)); }", "effects": []}


def ask(port, method, path, body=None):
    """The status and the text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
    connection.request(method, path, body and json.dumps(body))
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def until_up(port, path):
    """Waits for a server that is just starting."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return ask(port, "GET", path)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def is_isolated(answer):
    return (
        answer["isolation"] in ("native", "bwrap", "landlock") and "seccomp" in answer["enforced"]
    )


def check_posts(port):
    """One answer, one failure of a stage, one that is no request."""
    status, text = ask(port, "POST", "/run", {**DOUBLE, "input": 21})
    assert status == 200, text
    answer = json.loads(text)
    assert answer["output"] == 42 and is_isolated(answer), text
    python = {"language": "python", "code": "def execute(x): return x['a'] + [None]"}
    status, text = ask(port, "POST", "/run", {**python, "input": {"a": [1]}})
    assert status == 200 and json.loads(text)["output"] == [1, None], text
    status, text = ask(port, "POST", "/run", {"language": "bash", "code": "execute() { exit 3; }"})
    assert status == 422 and json.loads(text)["kind"] == "stage_failed", text
    status, text = ask(port, "POST", "/run", {**DOUBLE, "effects": ["Network"]})
    assert status == 422 and json.loads(text)["kind"] == "effect_denied", text
    status, text = ask(port, "POST", "/run", "no stage")
    assert status == 400, text
    print(answer["isolation"] + ":", " ".join(answer["enforced"]))


def check_slow(port):
    """Others are answered while a stage runs."""
    slow = {"language": "bash", "code": "execute() { sleep 6; echo 1; }", "effects": ["Process"]}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, port, "POST", "/run", slow)
        for _ in range(10):
            assert ask(port, "GET", "/ping") == (200, "pong\n")
        assert not waiting.done(), "a stage of six seconds held the others up"
        status, text = waiting.result()
    assert status == 200 and json.loads(text)["output"] == 1, text


class Pings:
    """Asks for an unrelated location, in a process of its own, until it is told to stop."""

    def __init__(self, port):
        words = [sys.executable, __file__, "ping", str(port)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
        self.process.stdout.readline()

    def stop(self):
        took = sorted(json.loads(self.process.communicate("\n")[0]))
        assert took, "nothing was answered meanwhile"
        return (
            f"{len(took)} times, median {took[len(took) // 2] * 1000:.1f} ms, "
            f"p99 {took[len(took) * 99 // 100] * 1000:.1f} ms"
        )


def ping(port):
    print("begun", flush=True)
    took = []
    while not select.select([sys.stdin], [], [], 0.005)[0]:
        before = time.monotonic()
        assert ask(port, "GET", "/ping") == (200, "pong\n")
        took.append(time.monotonic() - before)
    print(json.dumps(took))


def check_many(port, count):
    """So many requests at once, and how long an unrelated location takes meanwhile."""

    def post(number):
        return json.loads(ask(port, "POST", "/run", {**DOUBLE, "input": number})[1])["output"]

    pings = Pings(port)
    time.sleep(1)
    alone = pings.stop()
    pings = Pings(port)
    before = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(post, range(count)))
    took = time.monotonic() - before
    meanwhile = pings.stop()
    assert answers == [2 * number for number in range(count)]
    print(f"{count} requests at once: {took:.1f} s; /ping meanwhile: {meanwhile}; alone: {alone}")


def check_reload(port):
    """What runs when the configuration is read anew is answered, by the worker that goes."""
    slow = {"language": "bash", "code": "execute() { sleep 2; echo 1; }", "effects": ["Process"]}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, port, "POST", "/run", slow)
        time.sleep(0.5)  # it has begun, and will last
        os.kill(int(os.environ["HOST_PID"]), signal.SIGHUP)
        status, text = waiting.result()
    assert status == 200 and json.loads(text)["output"] == 1, text
    status, text = ask(port, "POST", "/run", {**DOUBLE, "input": 4})
    assert status == 200 and json.loads(text)["output"] == 8, text


def haproxy(port):
    until_up(port, "/ping")
    check_posts(port)
    check_slow(port)
    check_many(port, 200)


def nginx(port):
    haproxy(port)
    check_reload(port)


def apache(port):
    until_up(port, "/ping")
    check_posts(port)
    check_slow(port)
    check_many(port, 20)


FENCE = "```"

DOCUMENT = f"""
{FENCE} {{.python .run input="[1, 2]"}}
def execute(numbers):
    print("seen")
    return {{"sum": sum(numbers)}}
{FENCE}

{FENCE} {{.bash .run}}
execute() {{ exit 3; }}
{FENCE}

{FENCE} python
untouched
{FENCE}
"""


def pandoc(directory, what):
    if what == "write":
        with open(f"{directory}/in.md", "w") as file:
            file.write(DOCUMENT)
        return
    with open(f"{directory}/out") as file:
        blocks = json.load(file)["blocks"]
    texts = [block["c"][1] for block in blocks]
    assert len(texts) == 5 and "def execute" in texts[0] and texts[4] == "untouched", texts
    assert texts[1] == 'seen\n{"sum": 3}', texts[1]
    assert "stage_failed" in texts[3] and "status 3" in texts[3], texts[3]


def packet(payload):
    """A record of a capture: Ethernet, IPv4, UDP to port 5300."""
    udp = struct.pack("!HHHH", 9, 5300, 8 + len(payload), 0) + payload
    head = struct.pack(
        "!BBHHHBBHII", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, 0x7F000001, 0x7F000001
    )
    frame = bytes(12) + b"\x08\x00" + head + udp
    return struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame


def tshark(directory, what):
    if what == "write":
        with open(f"{directory}/in.pcap", "wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
            for payload in (b"\x01\x02", b"\xff", b"\x01\x02"):
                file.write(packet(payload))
        with open(f"{directory}/decode.py", "w") as file:
            file.write("def execute(text):\n    data = bytes.fromhex(text)\n")
            file.write("    return {'sum': sum(data), 'first': 1 // (255 - data[0])}\n")
        return
    with open(f"{directory}/out") as file:
        lines = file.read().split("\n")
    assert lines[0] == lines[2] and "sum" in lines[0], lines
    assert json.loads(lines[0].strip()) == {"sum": 3, "first": 0}, lines
    assert "ZeroDivisionError" in lines[1], lines


class Client:
    """As much of XMPP as asks a component: the answers are searched as text."""

    OPEN = (
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
        "to='localhost' version='1.0'>"
    )

    def __init__(self, port):
        deadline = time.monotonic() + 30
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self.say(self.OPEN, "</stream:features>")
        secret = base64.b64encode(b"\0tester\0secret").decode()
        auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"
        self.say(auth + secret + "</auth>", "<success")
        self.say(self.OPEN, "</stream:features>")
        bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
        self.say(f"<iq type='set' id='1'>{bind}</iq>", "</iq>")

    def say(self, text, until):
        self.socket.sendall(text.encode())
        got = ""
        while until not in got:
            part = self.socket.recv(65536).decode()
            assert part, got
            got += part
        return got

    def ask(self, to, body):
        message = f"<message type='chat' to='{to}@stages.localhost'><body>{body}</body></message>"
        return self.say(message, "</message>")


def prosody(port):
    client = Client(port)
    answer = client.ask("bash", "execute() { echo $((6 * 7)); }")
    assert "<body>42 (native)</body>" in answer or "<body>42 (landlock)</body>" in answer, answer
    slow = "<message type='chat' to='bash@stages.localhost'><body>%s</body></message>"
    client.socket.sendall((slow % "execute() { sleep 6; echo 1; }").encode())
    answer = client.ask("bash", "execute() { echo 2; }")
    assert "<body>2 (" in answer, "a stage of six seconds held the others up: " + answer
    answer = client.say(" ", "</message>")
    assert "<body>1 (" in answer, answer
    answer = client.ask("python", "def execute(_): return 6 * 7")
    assert "<body>42 (" in answer, answer
    answer = client.ask("bash", "execute() { exit 3; }")
    assert "status 3" in answer, answer
    answer = client.ask("cobol", "-")
    assert "cobol" in answer, answer


if __name__ == "__main__":
    if len(sys.argv) > 3:
        globals()[sys.argv[1]](*sys.argv[2:])
    else:
        globals()[sys.argv[1]](int(sys.argv[2]))
