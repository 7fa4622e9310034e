"""The official Python client (python-socketio) against the echo example and against alt-ws itself."""

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
import unittest
import urllib.error
import urllib.request

import socketio

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

    async def _keep(self, event, *args):
        async with self.came:
            self.events.append((event, list(args)))
            self.came.notify_all()
        if self.answer and event in self.answer:
            return self.answer.pop(event)
        return None

    async def enter(self, url, mode, auth=None):
        """Connects; in upgrade mode the client upgrades before it returns."""
        await asyncio.wait_for(
            self.connect(url, auth=auth, transports=MODES[mode], namespaces=[self.home], wait_timeout=PATIENCE), PATIENCE
        )
        return self

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


class Echo(unittest.IsolatedAsyncioTestCase):
    """Text, binary and acks both ways, on both namespaces and all transports."""

    ARGUMENTS = [(), ("plain", "ä 👩"), (1, -2.5, None, [True], {"a": {"b": []}}), (b"\x00\xff", {"in": [b"", b"x" * 70000]})]

    @classmethod
    def setUpClass(cls):
        port = free_port()
        cls.server = Process(
            CONFORMANCE, "--port", str(port), port=port, ready="/socket.io/?EIO=4&transport=polling"
        )

    @classmethod
    def tearDownClass(cls):
        cls.server.stop(signal.SIGKILL)

    async def each(self):
        for mode in MODES:
            for namespace in ("/", "/custom"):
                with self.subTest(mode=mode, namespace=namespace):
                    client = await Client(namespace).enter(self.server.url, mode, {"token": "123"})
                    try:
                        yield client, namespace
                    finally:
                        await client.disconnect()

    async def test_the_connect_payload_comes_back(self):
        async for client, _ in self.each():
            self.assertEqual(await client.next("auth"), [{"token": "123"}])

    async def test_events_come_back_as_they_were(self):
        async for client, namespace in self.each():
            for args in self.ARGUMENTS:
                await client.emit("message", args, namespace=namespace)
                self.assertEqual(await client.next("message-back"), list(args))

    async def test_acks_carry_the_arguments(self):
        async for client, namespace in self.each():
            for args in self.ARGUMENTS:
                answer = await client.call("message-with-ack", args, namespace=namespace, timeout=PATIENCE)
                got = () if answer is None else answer if isinstance(answer, tuple) else (answer,)
                self.assertEqual(got, args)

    async def test_the_server_may_ask_for_an_ack(self):
        async for client, namespace in self.each():
            for args in self.ARGUMENTS[1:]:
                client.answer = {"emit-with-ack": args}
                await client.emit("emit-with-ack", args, namespace=namespace)
                self.assertEqual(await client.next("emit-with-ack"), list(args))
                self.assertEqual(await client.next("emit-with-ack"), list(args))


class Chat(unittest.IsolatedAsyncioTestCase):
    """Two users in a room, one of them with a number as id."""

    @classmethod
    def setUpClass(cls):
        port = free_port()
        cls.server = Process(
            ALT_WS, port=port, ready="/readyz", NODE_ENV="production", JWT_SECRET=SECRET, CORES="2",
            WS_HOST="127.0.0.1", LOG_LEVEL="debug",
        )
        for mode in MODES:
            subprocess.run(
                [ALT_WS, "members", "add", f"room-{mode}", "ada", "42"],
                check=True, env=cls.server.env, cwd=cls.server.folder, timeout=15, stdout=subprocess.DEVNULL,
            )

    @classmethod
    def tearDownClass(cls):
        code, log = cls.server.stop()
        assert code == 0, f"exit code {code}\n{log[-4000:]}"
        assert "panicked at" not in log, log[-4000:]
        assert "eyJ" not in log, "a token is in the log"

    async def test_a_bad_token_is_refused(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                client = Client()
                with self.assertRaises(socketio.exceptions.ConnectionError):
                    await client.enter(self.server.url, mode, {"token": "nonsense"})
                await client.disconnect()

    async def test_two_users_chat(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                room = f"room-{mode}"
                ada = await Client().enter(self.server.url, mode, {"token": sign({"userId": "ada", "username": "Ada"})})
                bob = await Client().enter(self.server.url, mode, {"token": sign({"userId": 42, "username": "Bob"})})
                try:
                    await self.chat(room, ada, bob)
                finally:
                    await ada.disconnect()
                    await bob.disconnect()

    async def chat(self, room, ada, bob):
        for user in (ada, bob):
            self.assertTrue((await user.ask("room:join", {"roomId": room}))["ok"])
        [joined] = await ada.next("user:joined")
        self.assertEqual((joined["userId"], joined["username"], joined["roomId"]), (42, "Bob", room))
        for seq, (sender, other, name) in enumerate([(ada, bob, "ada"), (bob, ada, 42)], start=1):
            content = f"said: ä 👩 by {name}"
            ack = await sender.ask("message:send", {"roomId": room, "content": content, "tempId": seq})
            self.assertTrue(ack["ok"], ack)
            for receiver in (sender, other):
                [message] = await receiver.next("message:new")
                self.assertEqual((message["content"], message["userId"], message["seq"]), (content, name, seq))
            [told] = await sender.next("message:ack")
            self.assertEqual((told["messageId"], told["tempId"]), (message["_id"], seq))
            await other.emit("message:read", {"roomId": room, "messageId": message["_id"]})
            [status] = await sender.next("message:status")
            self.assertEqual((status["messageId"], status["status"]), (message["_id"], "read"))
        await ada.emit("typing:start", {"roomId": room})
        [typing] = await bob.next("typing:user")
        self.assertEqual((typing["userId"], typing["isTyping"]), ("ada", True))
        refused = await ada.ask("message:send", {"roomId": "elsewhere", "content": "said: x"})
        self.assertEqual((refused["ok"], refused["error"]["code"]), (False, "access_denied"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
