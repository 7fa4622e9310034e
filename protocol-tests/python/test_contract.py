"""The contract's main sequences with the official Python client (python-socketio), over each transport: every event and
every error that a client can bring about by itself. The rules one by one are the JavaScript clients' business."""

import asyncio
import importlib.metadata
import json
import re
import subprocess
import time
import unittest

import socketio

from support import ALT_WS, FOLDER, SECRET, Client, Process, free_port, sign

RESULTS = FOLDER.parent / "out" / "clients.jsonl"
NEEDS = (
    "Over polling, set its `engineio.payload.Payload.max_decode_packets` well above the 16 it has: the answer to one poll may "
    "hold more, here as with the reference server, and it would end the connection"
)
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MESSAGE_ID = re.compile(r"[0-9a-f]{24}")


def serve(**env):
    """alt-ws without the limits that a test would trip over by accident."""
    limits = {name: "0" for name in ("RATE_LIMIT_EVENTS", "RATE_LIMIT_BYTES", "MAX_CONNECTIONS_PER_USER")}
    return Process(
        ALT_WS, port=free_port(), ready="/readyz", NODE_ENV="production", JWT_SECRET=SECRET, CORES="2",
        WS_HOST="127.0.0.1", LOG_LEVEL="debug", **{**limits, **env},
    )


class Contract:
    """One server, one transport, and for each test users of its own, Ada, Bob (whose id is a number) and Cy, and a room."""

    tests = 0

    def setUp(self):
        Contract.tests += 1
        n = Contract.tests
        self.ada, self.bob, self.cy = f"ada-{n}", 1000 + n, f"cy-{n}"
        self.names = {self.ada: "Ada", self.bob: "Bob", self.cy: "Cy"}

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # unittest switches it on, and it makes everything slow

    @classmethod
    def setUpClass(cls):
        cls.server = serve()
        cls.passed, cls.failed = 0, []

    @classmethod
    def tearDownClass(cls):
        major, minor, *_ = importlib.metadata.version("python-socketio").split(".")
        client = f"python-socketio {major}.{minor}"
        line = {"client": client, "mode": cls.mode, "needs": NEEDS, "passed": cls.passed, "failed": cls.failed}
        RESULTS.parent.mkdir(exist_ok=True)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        code, log = cls.server.stop()
        assert code == 0, f"exit code {code}\n{log[-4000:]}"
        for what, mark in (("a panic", "panicked at"), ("a token", "eyJ"), ("a content", "said:")):
            assert mark not in log, f"{what} is in the log\n{log[-4000:]}"

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) == before:
            type(self).passed += 1
        else:
            type(self).failed.append(self._testMethodName)

    # --- what every test begins with --------------------------------------------------------------------------------

    def room(self, *users, server=None):
        """This test's conversation, with these members."""
        server, room = server or self.server, f"room-{self.ada}"
        subprocess.run(
            [ALT_WS, "members", "add", room, *map(str, users)],
            check=True, env=server.env, cwd=server.folder, timeout=15, stdout=subprocess.DEVNULL,
        )
        return room

    async def user(self, user_id, server=None, **claims):
        """Somebody connected, who is disconnected when the test ends."""
        client, name = Client(), self.names[user_id]
        self.addAsyncCleanup(client.disconnect)
        token = sign({"userId": user_id, "username": name, **claims})
        await client.enter((server or self.server).url, self.mode, {"token": token})
        return client

    async def joined(self, user_id, room, **options):
        client = await self.user(user_id, **options)
        self.ok(await client.ask("room:join", {"roomId": room}))
        return client

    async def party(self, *users):
        """A room and its members, connected and in it."""
        room = self.room(*users)
        return room, *[await self.joined(user, room) for user in users]

    def ok(self, answer):
        self.assertTrue(answer["ok"], answer)
        return answer

    def refused(self, answer, code):
        self.assertEqual((answer["ok"], answer.get("error", {}).get("code")), (False, code), answer)
        self.assertTrue(answer["error"]["message"])
        return answer["error"]

    def fields(self, actual, **expected):
        for name, value in expected.items():
            if isinstance(value, re.Pattern):
                self.assertRegex(actual[name], value)
            else:
                self.assertEqual((type(actual[name]), actual[name]), (type(value), value), f"{name} of {actual}")

    async def say(self, client, room, content, **fields):
        return self.ok(await client.ask("message:send", {"roomId": room, "content": f"said: {content}", **fields}))

    async def settled(self, sender, room, *watchers):
        """A barrier: what was sent before and has not come to the watchers by then, was not sent to them."""
        ack = await self.say(sender, room, "barrier")
        for watcher in watchers:
            await watcher.next("message:new", lambda m: m["_id"] == ack["messageId"])

    # --- connecting -------------------------------------------------------------------------------------------------

    async def refusal(self, auth=None, headers=None):
        client = Client()
        with self.assertRaises(socketio.exceptions.ConnectionError):
            await client.enter(self.server.url, self.mode, auth, headers)
        [error] = await client.next("connect_error")
        await client.disconnect()
        return error["message"], error["data"]["code"]

    async def test_connecting(self):
        ada = await self.user(self.ada)
        self.assertEqual(ada.transport(), "polling" if self.mode == "polling" else "websocket")
        by_header = Client()
        token = sign({"userId": self.ada})
        await by_header.enter(self.server.url, self.mode, headers={"Authorization": f"Bearer {token}"})
        await by_header.disconnect()
        self.assertEqual(await self.refusal(), ("Authentication required", "auth_required"))
        self.assertEqual(await self.refusal({"token": "nonsense"}), ("Invalid token", "token_invalid"))
        ended = {"token": sign({"userId": self.ada, "exp": time.time() - 60})}
        self.assertEqual(await self.refusal(ended), ("Invalid token", "token_expired"))

    async def test_a_token_that_ends_ends_the_connection(self):
        ada = await self.user(self.ada, exp=int(time.time()) - 3)  # 5 seconds are leeway
        [error] = await ada.next("error")
        self.fields(error, code="token_expired")
        await ada.next("disconnect")

    # --- rooms ------------------------------------------------------------------------------------------------------

    async def test_rooms(self):
        room, ada, bob = await self.party(self.ada, self.bob)
        [told] = await bob.next("room:joined")
        self.fields(told, roomId=room, timestamp=ISO, seq=0, unread=0, onlineCount=2)
        self.assertEqual({u["userId"]: u["status"] for u in told["online"]}, {self.ada: "online", self.bob: "online"})
        [joined] = await ada.next("user:joined")
        self.fields(joined, userId=self.bob, username="Bob", roomId=room, timestamp=ISO)
        self.ok(await bob.ask("room:leave", {"conversationId": room}))
        [left] = await ada.next("user:left")
        self.fields(left, userId=self.bob, username="Bob", roomId=room, timestamp=ISO)
        await self.settled(ada, room, ada)
        self.assertEqual(bob.all("message:new"), [], "who left hears nothing")

    async def test_since_brings_what_was_missed(self):
        room, ada, bob = await self.party(self.ada, self.bob)
        await self.say(ada, room, 0)
        await bob.disconnect()
        sent = [await self.say(ada, room, n) for n in range(1, 230)]
        back, missed, since = await self.user(self.bob), [], 1
        while True:
            page = self.ok(await back.ask("room:join", {"roomId": room, "since": since}))
            missed += page["missed"]
            if page["missedComplete"]:
                break
            self.assertTrue(page["missed"], "no way on")
            since = page["missed"][-1]["seq"]
        self.assertEqual([(m["seq"], m["_id"]) for m in missed], [(s["seq"], s["messageId"]) for s in sent])
        self.assertEqual((page["seq"], page["unread"]), (230, 230))

    # --- messages ---------------------------------------------------------------------------------------------------

    async def test_messages(self):
        room, ada, bob = await self.party(self.ada, self.bob)
        attachments = [{"url": "https://files.example/1", "name": "ä.png", "size": 1.5}]
        sent = {"type": "image", "attachments": attachments, "tempId": 7, "clientMsgId": "first"}
        content = "said: ä 👩‍🚀 \u2028 \"quoted\""
        ack = self.ok(await ada.ask("message:send", {"roomId": room, "content": content, **sent}))
        for receiver in (ada, bob):
            [message] = await receiver.next("message:new")
            self.fields(
                message, _id=MESSAGE_ID, conversationId=room, userId=self.ada, username="Ada", content=content,
                timestamp=ISO, delivered=False, read=False, seq=1, **sent,
            )
            self.assertEqual((message["_id"], message["id"]), (ack["messageId"], ack["messageId"]))
        [told] = await ada.next("message:ack")
        self.assertEqual({"ok": True, **told}, ack)
        self.fields(told, messageId=message["_id"], seq=1, tempId=7, clientMsgId="first", roomId=room, timestamp=ISO)
        again = await self.say(ada, room, "something else", clientMsgId="first")
        self.assertEqual((again["messageId"], again["seq"]), (ack["messageId"], 1), "once, and answered the same")
        await self.settled(bob, room, bob)
        self.assertEqual((bob.all("message:ack")[0]["seq"], bob.all("message:new")), (2, []))

    async def test_one_order_for_all(self):
        room, *users = await self.party(self.ada, self.bob, self.cy)
        await asyncio.gather(*[self.say(user, room, n) for n in range(10) for user in users])
        seen = [[(await user.next("message:new"))[0] for _ in range(30)] for user in users]
        self.assertEqual([m["seq"] for m in seen[0]], list(range(1, 31)))
        self.assertEqual((seen[1], seen[2]), (seen[0], seen[0]))

    async def test_history(self):
        room, ada, bob = await self.party(self.ada, self.bob)
        for n in range(12):
            await self.say(ada, room, n)
        cy = await self.user(self.cy)
        for fields, seqs, more in [
            ({}, range(1, 13), False),
            ({"limit": 5}, range(8, 13), True),
            ({"before": 4}, range(1, 4), False),
            ({"after": 9, "limit": 2}, range(10, 12), True),
        ]:
            page = self.ok(await bob.ask("message:history", {"roomId": room, **fields}))
            self.assertEqual(([m["seq"] for m in page["messages"]], page["hasMore"]), (list(seqs), more), fields)
        live = [(await bob.next("message:new"))[0] for _ in range(12)]
        whole = self.ok(await bob.ask("message:history", {"roomId": room}))
        self.assertEqual(whole["messages"], live)
        self.refused(await cy.ask("message:history", {"roomId": room}), "access_denied")

    # --- what is told beside messages -------------------------------------------------------------------------------

    async def test_receipts(self):
        room, ada, bob = await self.party(self.ada, self.bob)
        sent = [await self.say(ada, room, n) for n in range(3)]
        for event, status, of, more in [
            ("message:delivered", "delivered", 0, {}),
            ("message:read", "read", 0, {}),
            ("message:read", "read", 2, {"upTo": True}),
        ]:
            receipt = {"roomId": room, "messageId": sent[of]["messageId"], **more}
            for _ in "once", "again":
                self.ok(await bob.ask(event, receipt))
            [told] = await ada.next("message:status")
            self.fields(told, **receipt, status=status, userId=self.bob, timestamp=ISO)
        await self.settled(bob, room, ada)
        self.assertEqual(ada.all("message:status"), [], "each is told once")
        self.assertEqual(bob.all("message:status"), [], "and not to who sent it")
        page = self.ok(await bob.ask("message:history", {"roomId": room, "limit": 4}))
        self.assertEqual([m["read"] for m in page["messages"]], [True, True, True, False])

    async def test_typing(self):
        room, ada, bob = await self.party(self.ada, self.bob)
        for event, typing in ("typing:start", True), ("typing:stop", False):
            self.ok(await ada.ask(event, {"roomId": room}))
            [told] = await bob.next("typing:user")
            self.fields(told, userId=self.ada, username="Ada", roomId=room, isTyping=typing)
        await ada.emit("typing:start", {"roomId": room})
        await bob.next("typing:user", lambda e: e["isTyping"])
        await bob.next("typing:user", lambda e: not e["isTyping"])  # by itself, after 6 s
        self.assertEqual(ada.all("typing:user"), [])

    async def test_presence(self):
        room = self.room(self.ada, self.bob)
        ada = await self.joined(self.ada, room)
        bob = await self.user(self.bob)
        [online] = await ada.next("user:online", lambda e: e["userId"] == self.bob)
        self.fields(online, userId=self.bob, username="Bob", timestamp=ISO)
        for status in "away", "busy", "offline", "online":
            self.ok(await bob.ask("presence:update", {"status": status}))
            [changed] = await ada.next("presence:changed", lambda e: e["userId"] == self.bob)
            self.fields(changed, userId=self.bob, username="Bob", status=status, timestamp=ISO)
        await bob.disconnect()
        [offline] = await ada.next("user:offline", lambda e: e["userId"] == self.bob)
        self.fields(offline, userId=self.bob, username="Bob", timestamp=ISO)

    # --- errors -----------------------------------------------------------------------------------------------------

    async def test_errors(self):
        room, ada, bob = await self.party(self.ada, self.bob)
        cy = await self.user(self.cy)
        message_id = (await self.say(ada, room, "it"))["messageId"]
        for event, fields in [
            ("room:join", {}), ("message:send", {"content": "said: x"}), ("message:history", {}), ("typing:start", {}),
            ("typing:stop", {}), ("message:delivered", {"messageId": message_id}), ("message:read", {"messageId": message_id}),
        ]:
            self.refused(await cy.ask(event, {"roomId": room, **fields}), "access_denied")
            [error] = await cy.next("error")
            self.fields(error, code="access_denied", event=event, roomId=room)
        for event, data in [
            ("nonsense", {}), ("message:send", {"roomId": room}), ("room:join", "text"), ("typing:start", None),
            ("presence:update", {"status": "asleep"}), ("message:read", {"roomId": room, "messageId": 5}),
        ]:
            self.refused(await bob.ask(event, data), "bad_request")
        self.refused(await ada.ask("message:read", {"roomId": room, "messageId": message_id}), "bad_request")
        self.refused(await bob.ask("message:read", {"roomId": room, "messageId": "f" * 24}), "not_found")
        self.refused(await bob.ask("message:send", {"roomId": room, "content": "x" * 65_537}), "too_large")
        await cy.emit("message:send", {"roomId": room, "content": "said: x", "tempId": 9, "clientMsgId": "nine"})
        [error] = await cy.next("error")
        self.fields(error, code="access_denied", event="message:send", roomId=room, tempId=9, clientMsgId="nine")

    async def test_limits_and_draining(self):
        server = serve(RATE_LIMIT_EVENTS="5")
        room = self.room(self.ada, server=server)
        ada = await self.joined(self.ada, room, server=server)
        answers = await asyncio.gather(
            *[ada.ask("message:send", {"roomId": room, "content": "said: x"}) for _ in range(30)]
        )
        late = [answer for answer in answers if not answer["ok"]]
        self.assertTrue(0 < len(late) < 30, f"{len(late)} of 30 were refused")
        for answer in late:
            self.assertGreater(self.refused(answer, "rate_limited")["retryAfter"], 0)
        code, _ = await asyncio.to_thread(server.stop)
        self.assertEqual(code, 0)
        [draining] = await ada.next("server:draining")
        self.assertGreaterEqual(draining["reconnectIn"], 0)
        await ada.next("disconnect")


class Polling(Contract, unittest.IsolatedAsyncioTestCase):
    mode = "polling"


class WebSocket(Contract, unittest.IsolatedAsyncioTestCase):
    mode = "websocket"


class Upgrade(Contract, unittest.IsolatedAsyncioTestCase):
    mode = "upgrade"


if __name__ == "__main__":
    unittest.main(verbosity=2)
