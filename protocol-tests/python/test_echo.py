"""The official Python client (python-socketio) against the echo example: the protocol without the chat."""

import asyncio
import signal
import unittest

from support import CONFORMANCE, MODES, PATIENCE, Client, Process, free_port


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

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # slow, and this server's heartbeat is quick

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


if __name__ == "__main__":
    unittest.main(verbosity=2)
