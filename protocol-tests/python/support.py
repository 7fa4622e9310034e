"""What both test files need: the servers in processes of their own, and the official Python client with a memory."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import engineio.payload
import socketio

# A poll's answer may hold more than the 16 packets that this client takes by default, as with the reference server: it
# would call that a broken connection. Programs on polling have to raise it in the same way.
engineio.payload.Payload.max_decode_packets = 1_000

FOLDER = pathlib.Path(__file__).resolve().parent
TARGET = FOLDER.parent.parent / "target" / "debug"
ALT_WS = pathlib.Path(os.environ.get("ALT_WS_BIN", TARGET / "alt-ws")).resolve()
CONFORMANCE = pathlib.Path(os.environ.get("CONFORMANCE_BIN", TARGET / "examples" / "conformance")).resolve()
SECRET = "protocol-tests: a secret of more than thirty-two bytes"
PATIENCE = 8  # seconds
MODES = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}


def sign(claims):
    """A token signed with HS256."""
    encode = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=")
    data = encode(b'{"alg":"HS256","typ":"JWT"}') + b"." + encode(json.dumps(claims).encode())
    return (data + b"." + encode(hmac.new(SECRET.encode(), data, hashlib.sha256).digest())).decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A server in a process of its own, in a temporary folder, with its log in a file there."""

    def __init__(self, binary, *arguments, ready, port, **env):
        if not binary.exists():
            raise FileNotFoundError(f"{binary} is missing: build it first (see README.md)")
        self.folder = tempfile.mkdtemp(prefix="alt-ws-test-")
        self.url = f"http://127.0.0.1:{port}"
        self.env = {"PATH": os.environ["PATH"], "DATA_DIR": self.folder, "WS_PORT": str(port), **env}
        self.log = open(os.path.join(self.folder, "log"), "w+", encoding="utf-8")
        self.child = subprocess.Popen(
            [binary, *arguments], cwd=self.folder, env=self.env, stdout=self.log, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + 15
        last = "no answer"
        while time.monotonic() < deadline and self.child.poll() is None:
            try:
                with urllib.request.urlopen(self.url + ready, timeout=1):
                    return
            except (urllib.error.URLError, OSError) as error:
                last = str(error)
                time.sleep(0.02)
        self.stop(signal.SIGKILL)
        raise TimeoutError(f"waited for 200 from {ready}: {last}")

    def stop(self, how=signal.SIGTERM):
        """Ends the process; returns its exit code and its log."""
        self.child.send_signal(how)
        try:
            code = self.child.wait(15)
        except subprocess.TimeoutExpired:
            self.child.kill()
            code = self.child.wait()
        self.log.seek(0)
        log = self.log.read()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return code, log


class Client(socketio.AsyncClient):
    """Keeps every event in a queue and waits for them by name, with a limit."""

    def __init__(self, namespace="/"):
        super().__init__(reconnection=False)
        self.home = namespace
        self.events = []
        self.came = asyncio.Condition()
        self.answer = None
        self.on("*", self._keep, namespace=namespace)
        for event in ("connect_error", "disconnect"):  # which "*" does not cover

            async def keep(*args, event=event):
                await self._keep(event, *args)

            self.on(event, keep, namespace=namespace)

    async def _keep(self, event, *args):
        async with self.came:
            self.events.append((event, list(args)))
            self.came.notify_all()
        if self.answer and event in self.answer:
            return self.answer.pop(event)
        return None

    async def enter(self, url, mode, auth=None, headers=None):
        """Connects; in upgrade mode the client upgrades before it returns."""
        namespaces, transports = [self.home], MODES[mode]
        await asyncio.wait_for(
            self.connect(url, headers or {}, auth, transports, namespaces, wait_timeout=PATIENCE), PATIENCE
        )
        return self

    async def disconnect(self):
        """Leaves once what was sent is on its way: over polling, this client forgets its farewell beside another POST."""
        if self.eio.state == "connected":
            await asyncio.wait_for(self.eio.queue.join(), PATIENCE)
        await super().disconnect()

    def all(self, event):
        """The first arguments of every such event that was not taken."""
        return [args[0] for name, args in self.events if name == event]

    async def next(self, event, predicate=lambda *args: True):
        """Takes the first such event and returns its arguments."""

        def hit():
            return next((i for i, (name, args) in enumerate(self.events) if name == event and predicate(*args)), None)

        async with self.came:
            try:
                await asyncio.wait_for(self.came.wait_for(lambda: hit() is not None), PATIENCE)
            except asyncio.TimeoutError:
                raise AssertionError(f"waited {PATIENCE} s for {event}; arrived: {self.events}") from None
            return self.events.pop(hit())[1]

    async def ask(self, event, data):
        """Emits and returns the ack."""
        return await self.call(event, data, namespace=self.home, timeout=PATIENCE)
