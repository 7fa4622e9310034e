// The protocol without the chat: the official client, and Engine.IO by hand, against the echo server of examples/.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';

import { connect, MODES, refused } from './lib/client.mjs';
import { Polling, SEPARATOR, WebSocketByHand } from './lib/raw.mjs';
import { showingLog, startConformance } from './lib/server.mjs';

const server = await startConformance();
after(() => server.signal('SIGKILL'));

const ARGUMENTS = [
  ['nothing', []],
  ['text', ['plain', 'ä 👩‍🚀 \u2028 "quoted" \\']],
  ['values', [1, -2.5, true, null, [1, [2]], { a: { b: [] } }]],
  ['a binary', [Buffer.from([0, 1, 2, 255])]],
  ['binaries inside', [{ a: Buffer.from('x'), b: [Buffer.alloc(0), { c: Buffer.alloc(70_000, 7) }] }, 'end']],
  ['several binaries in their order', Array.from({ length: 5 }, (_, i) => Buffer.from([i]))],
];

/** What came back equals what was sent, binaries being Buffers in Node. */
const same = (actual, expected) => assert.deepStrictEqual(JSON.parse(JSON.stringify(actual)), JSON.parse(JSON.stringify(expected)));

for (const mode of MODES) {
  for (const namespace of ['/', '/custom']) {
    describe(`Socket.IO over ${mode}, namespace ${namespace}`, () => {
      const open = (t, options) => connect(t, server, { mode, namespace, ...options });
      const check = (name, body) => test(name, showingLog(server, body));

      check('the CONNECT payload comes back, {} when there was none', async (t) => {
        same(await (await open(t, { auth: { token: '123', n: 1 } })).next('auth'), { token: '123', n: 1 });
        same(await (await open(t)).next('auth'), {});
      });

      for (const [what, args] of ARGUMENTS) {
        check(`echo: ${what}`, async (t) => {
          const client = await open(t);
          client.emit('message', ...args);
          const { args: back } = await client.nextRecord('message-back');
          same(back, args);
          back.forEach((arg, i) => assert.equal(Buffer.isBuffer(arg), Buffer.isBuffer(args[i])));
        });

        check(`ack: ${what}`, async (t) => {
          const client = await open(t);
          same(await new Promise((done) => client.emit('message-with-ack', ...args, (...back) => done(back))), args);
        });

        check(`ack asked by the server: ${what}`, async (t) => {
          const client = await open(t);
          client.emit('emit-with-ack', ...args);
          const { args: asked } = await client.nextRecord('emit-with-ack');
          const answer = asked.pop();
          same(asked, args);
          answer(...args);
          same((await client.nextRecord('emit-with-ack')).args, args);
        });
      }

      check('a hundred events keep their order', async (t) => {
        const client = await open(t);
        for (let i = 0; i < 100; i++) client.emit('message', i, ...(i % 10 ? [] : [Buffer.from([i])]));
        same(await client.collect('message-back', 100), Array.from({ length: 100 }, (_, i) => i));
      });

      check('leaving and coming back', async (t) => {
        const client = await open(t);
        client.disconnect();
        await client.next('disconnect');
        await client.open();
        client.emit('message', 'again');
        assert.equal(await client.next('message-back'), 'again');
      });
    });
  }

  test(`Socket.IO over ${mode}: an unknown namespace is refused`, async (t) => {
    assert.equal((await refused(t, server, { mode, namespace: '/random' })).message, 'Invalid namespace');
  });
}

describe('Engine.IO echo at /engine.io/', () => {
  const path = '/engine.io/';

  test('polling: text and binary', async () => {
    const session = await Polling.open(server, undefined, path);
    assert.deepEqual(await session.post(`4hello${SEPARATOR}4ä👩‍🚀${SEPARATOR}bAQIDBA==`).then((a) => [a.status, a.text]), [200, 'ok']);
    for (const packet of ['4hello', '4ä👩‍🚀', 'bAQIDBA==']) await session.receive((p) => p === packet);
  });

  test('WebSocket: text and binary', async () => {
    const ws = await WebSocketByHand.open(server, { path });
    await ws.next((t) => String(t).startsWith('0{'));
    ws.text('4hello');
    assert.equal(await ws.next(), '4hello');
    ws.binary([1, 2, 3, 4]);
    assert.deepEqual(await ws.next(), Buffer.from([1, 2, 3, 4]));
    ws.close();
    await ws.ended();
  });

  test('upgrade: a poll in flight is released, and the rest comes over WebSocket', async () => {
    const session = await Polling.open(server, undefined, path);
    const waiting = session.poll();
    const ws = await WebSocketByHand.open(server, { path, sid: session.sid });
    ws.text('2probe');
    assert.equal(await ws.next(), '3probe');
    assert.deepEqual(await waiting.then((a) => [a.status, a.text]), [200, '6']);
    ws.text('5');
    ws.text('4after');
    assert.equal(await ws.next(), '4after');
    ws.destroy();
  });

  test('close: a close packet ends the session', async () => {
    const session = await Polling.open(server, undefined, path);
    assert.equal((await session.post('1')).status, 200);
    await session.ended();
  });
});
