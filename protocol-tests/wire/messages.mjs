// Packets that carry messages: as they are sent, as they come back, and how large they may be.

import assert from 'node:assert/strict';
import { describe } from 'node:test';

import { http } from '../lib/http.mjs';
import { LINKS, PollingLink, WebSocketLink } from '../lib/links.mjs';
import { Polling } from '../lib/raw.mjs';
import { brief } from '../lib/wait.mjs';
import { ECHO, echoes, MAX_PAYLOAD } from './wire.mjs';

export function messages({ server, check, open }) {
  describe('messages', () => {
    const texts = ['4hello', '4', '4ä € 👩‍🚀 \u2028 \\"', '42["looks like another protocol"]'];
    const binaries = [[1, 2, 3, 4], [], [0], [30, 30], Array.from({ length: 256 }, (_, i) => i)].map((b) => Buffer.from(b));

    for (const Link of LINKS) {
      check(`${Link.label}: texts and binaries come back as they were, in their order`, async (t) => {
        const link = await open(t, Link);
        for (const packet of [...texts, ...binaries]) await echoes(link, packet);
        await link.send(...texts, ...binaries, ...texts);
        for (const packet of [...texts, ...binaries, ...texts]) assert.deepEqual(await link.next(), packet);
      });

      for (const packet of ['abc', '7', 'a', '', '6', '0{}', '2', '2probe', '5']) {
        check(`${Link.label}: ${brief(packet) || 'an empty packet'} closes the session`, async (t) => {
          const link = await open(t, Link);
          const { status } = await link.send(packet);
          if (Link === PollingLink && 'abc7'.includes(packet)) assert.equal(status, 400);
          const code = await link.closed();
          if (Link === WebSocketLink) assert.equal(code, 1002);
        });
      }
    }

    for (const body of ['4hello', '4test1\x1e4test2\x1e4test3', '4hello\x1ebAQIDBA==', 'bAQIDBA==', 'bAQI=\x1ebAQ==\x1eb']) {
      check(`polling: ${JSON.stringify(body)} is answered "ok" and comes back to the letter`, async () => {
        const session = await Polling.open(server, undefined, ECHO);
        assert.deepEqual(await session.post(body).then((a) => [a.status, a.text]), [200, 'ok']);
        assert.deepEqual(await session.poll().then((a) => [a.status, a.text]), [200, body]);
      });
    }

    for (const body of ['bA', 'bAB', 'b!!!!', 'bAQI=x', '4a\x1e', '\x1e4a', '4a\x1e\x1e4b']) {
      check(`polling: the body ${JSON.stringify(body)} is 400 and closes the session`, async () => {
        const session = await Polling.open(server, undefined, ECHO);
        assert.equal((await session.post(body)).status, 400);
        await session.ended();
      });
    }

    check('WebSocket: a message in fragments, with a ping of WebSocket between them, is one message', async (t) => {
      const link = await open(t, WebSocketLink);
      const answered = new Promise((done) => link.socket.once('pong', (data) => done(data.toString())));
      link.socket.send('4one ', { fin: false });
      link.socket.ping('still there?');
      link.socket.send('mess', { fin: false });
      link.socket.send('age', { fin: true });
      assert.equal(await link.next(), '4one message');
      assert.equal(await answered, 'still there?');
    });

    check('WebSocket: a thousand messages at once come back in their order', async (t) => {
      const link = await open(t, WebSocketLink);
      const packets = Array.from({ length: 1_000 }, (_, i) => (i % 7 ? `4${i}` : Buffer.from([i >> 8, i & 255])));
      await link.send(...packets);
      for (const packet of packets) assert.deepEqual(await link.next(), packet);
    });
  });

  describe('sizes', () => {
    const text = (bytes) => `4${'x'.repeat(bytes - 1)}`;
    const wide = `4${'€'.repeat((MAX_PAYLOAD - 1) / 3)}`;
    // Base64 in a polling body: three bytes for every four characters, and the `b`.
    const binary = { polling: Buffer.alloc(749_997, 0xa5), WebSocket: Buffer.alloc(MAX_PAYLOAD, 0xa5) };

    for (const Link of LINKS) {
      check(`${Link.label}: a megabyte of text, of wide characters, of binary`, async (t) => {
        const link = await open(t, Link);
        for (const packet of [text(MAX_PAYLOAD), wide, binary[Link.label]]) {
          await link.send(packet);
          assert.ok(Buffer.from(packet).equals(Buffer.from(await link.next())), 'what came back differs');
        }
      });
    }

    check('WebSocket: one byte more is closed with 1009', async (t) => {
      for (const packet of [text(MAX_PAYLOAD + 1), Buffer.alloc(MAX_PAYLOAD + 1)]) {
        const link = await open(t, WebSocketLink);
        await link.send(packet);
        assert.equal(await link.closed(), 1009);
      }
    });

    check('polling: one byte more is 413, every time, on new connections and on kept ones', async () => {
      for (let i = 0; i < 10; i++) {
        const session = await Polling.open(server, undefined, ECHO);
        assert.equal((await session.post(text(MAX_PAYLOAD + 1))).status, 413);
        const { sid } = await Polling.open(server, undefined, ECHO);
        const url = `${server.url}${ECHO}?EIO=4&transport=polling&sid=${sid}`;
        const answer = await fetch(url, { method: 'POST', body: text(MAX_PAYLOAD + 1) });
        await answer.text();
        assert.equal(answer.status, 413);
      }
    });

    check('polling: a chunked body is 413 once it is longer', async () => {
      for (const [bytes, status] of [[MAX_PAYLOAD, 200], [MAX_PAYLOAD + 1, 413]]) {
        const session = await Polling.open(server, undefined, ECHO);
        const headers = { 'Transfer-Encoding': 'chunked' };
        const answer = await http(server, session.query, { method: 'POST', headers, body: text(bytes) });
        assert.equal(answer.status, status);
      }
    });

    check('polling: one answer brings at most a megabyte, the next one the rest', async (t) => {
      const link = await open(t, PollingLink);
      const packets = ['a', 'b', 'c'].map((letter) => `4${letter.repeat(400_000)}`);
      for (const packet of packets) await link.send(packet);
      for (const expected of [packets.slice(0, 2), packets.slice(2)]) {
        assert.equal(await link.poll(), 200);
        assert.deepEqual(link.inbox.splice(0).map((p) => p.slice(0, 2)), expected.map((p) => p.slice(0, 2)));
      }
    });

    check('polling: a binary body is 400, and the answer ends', async () => {
      for (let i = 0; i < 20; i++) {
        const { sid } = await Polling.open(server, undefined, ECHO);
        const url = `${server.url}${ECHO}?EIO=4&transport=polling&sid=${sid}`;
        const headers = { 'Content-Type': 'application/octet-stream' };
        const answer = await fetch(url, { method: 'POST', headers, body: new Uint8Array(1_000 * i) });
        assert.equal(answer.status, 400);
        await answer.text();
      }
    });
  });
}
