// PARSER=msgpack: the official client with `socket.io-msgpack-parser`, and bytes by hand, against both servers.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';

import notepack from 'notepack.io';
import parser from 'socket.io-msgpack-parser';

import { client, connect as connectWith, MODES, refused as refusedWith } from './lib/client.mjs';
import { accepted, hasFields, ISO, MESSAGE_ID } from './lib/expect.mjs';
import { Polling, WebSocketByHand } from './lib/raw.mjs';
import { showingLog, startConformance, startServer } from './lib/server.mjs';
import { sign } from './lib/tokens.mjs';
import { unique } from './lib/wait.mjs';
import { say, saying } from './lib/world.mjs';

const [chat, echo, json] = await Promise.all([
  startServer({ PARSER: 'msgpack' }),
  startConformance({ PARSER: 'msgpack' }),
  startConformance(),
]);
after(() => Promise.all([chat.stop(), echo.signal('SIGKILL'), json.signal('SIGKILL')]));

const connect = (t, server, options) => connectWith(t, server, { parser, ...options });
const refused = (t, server, options) => refusedWith(t, server, { parser, ...options });

/** What a value is after `JSON.stringify`, binaries left alone. */
function asJson(value) {
  if (Buffer.isBuffer(value)) return value;
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return Buffer.from(value.buffer ?? value);
  if (Array.isArray(value)) return value.map(asJson);
  if (value === undefined || typeof value?.toJSON === 'function') return JSON.parse(JSON.stringify(value) ?? 'null');
  if (value === null || typeof value !== 'object') return JSON.parse(JSON.stringify(value));
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined).map(([k, v]) => [k, asJson(v)]));
}

const ARGUMENTS = [
  ['nothing', []],
  ['text', ['plain', 'ä 👩‍🚀 \u2028 "quoted" \\ \0 \u001b', 'x'.repeat(40), 'é'.repeat(40_000)]],
  ['values', [1, -2.5, true, null, [1, [2]], { a: { b: [] } }]],
  ['numbers', [127, 128, 65_536, 2 ** 32, 2 ** 53 - 1, -32, -33, -(2 ** 31) - 1, 0.1, 5e-324, NaN, Infinity, -0]],
  ['undefined', [undefined, { a: undefined, b: 1, c: undefined }, [undefined, 1]]],
  ['dates', [new Date(0), new Date(1_770_091_446_789), { at: new Date(-1) }, new Date(8.64e15)]],
  ['many members', [Array.from({ length: 1_000 }, (_, i) => i), Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`k${i}`, i]))]],
  ['what looks like a placeholder', [{ _placeholder: true, num: 0 }]],
  ['a binary', [Buffer.from([0, 1, 2, 255])]],
  ['typed arrays', [new Uint8Array([1, 2, 3]), new Uint8Array(8).buffer, new Uint16Array([258])]],
  ['binaries inside', [{ a: Buffer.from('x'), b: [Buffer.alloc(0), { c: Buffer.alloc(70_000, 7) }] }, 'end']],
  ['ten binaries in their order', Array.from({ length: 10 }, (_, i) => Buffer.from([i]))],
];

for (const mode of MODES) {
  for (const namespace of ['/', '/custom']) {
    describe(`echo over ${mode}, namespace ${namespace}`, () => {
      const open = (t, options) => connect(t, echo, { mode, namespace, ...options });
      const check = (name, body) => test(name, showingLog(echo, body));

      check('the CONNECT payload comes back, {} when there was none', async (t) => {
        const auth = { token: '123', n: 1, at: new Date(0), none: undefined };
        assert.deepStrictEqual(await (await open(t, { auth })).next('auth'), asJson(auth));
        assert.deepStrictEqual(await (await open(t)).next('auth'), {});
      });

      for (const [what, args] of ARGUMENTS) {
        check(`an event, and acks both ways: ${what}`, async (t) => {
          const client = await open(t);
          client.emit('message', ...args);
          const { args: back } = await client.nextRecord('message-back');
          assert.deepStrictEqual(back, asJson(args));

          const answer = await new Promise((done) => client.emit('message-with-ack', ...args, (...got) => done(got)));
          assert.deepStrictEqual(answer, asJson(args));

          client.emit('emit-with-ack', ...args);
          const { args: asked } = await client.nextRecord('emit-with-ack');
          const reply = asked.pop();
          assert.deepStrictEqual(asked, asJson(args));
          reply(...args);
          assert.deepStrictEqual((await client.nextRecord('emit-with-ack')).args, asJson(args));
        });
      }

      check('a hundred events keep their order', async (t) => {
        const client = await open(t);
        for (let i = 0; i < 100; i++) client.emit('message', i, ...(i % 10 ? [] : [Buffer.from([i])]));
        assert.deepStrictEqual(await client.collect('message-back', 100), Array.from({ length: 100 }, (_, i) => i));
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

  test(`an unknown namespace is refused over ${mode}`, async (t) => {
    assert.equal((await refused(t, echo, { mode, namespace: '/random' })).message, 'Invalid namespace');
  });
}

describe('chat', () => {
  const check = (name, body) => test(name, showingLog(chat, body));
  const user = (t, mode, userId) => connect(t, chat, { mode, claims: { userId, username: `${userId}` } });

  for (const mode of MODES) {
    check(`${mode}: who has no token, or a bad one, is told so`, async (t) => {
      for (const [token, message, code] of [
        [undefined, 'Authentication required', 'auth_required'],
        ['rubbish', 'Invalid token', 'token_invalid'],
      ]) {
        const error = await refused(t, chat, { mode, token });
        assert.equal(error.message, message);
        assert.deepStrictEqual(error.data, { code });
      }
    });

    check(`${mode}: a conversation between all transports`, async (t) => {
      const room = unique(`msgpack-${mode}`);
      const ids = [unique('ada'), 42_000 + MODES.indexOf(mode)];
      await chat.members(room, ...ids);
      const ada = await user(t, mode, ids[0]);
      const others = await Promise.all(MODES.map((other) => user(t, other, ids[1])));
      for (const each of [ada, ...others]) accepted(await each.emitAck('room:join', { roomId: room }));

      const tempId = 7;
      const content = saying('ä 👩‍🚀');
      const attachments = [{ url: 'https://example.com/a.png', size: 123_456, at: new Date(0), none: undefined }];
      ada.emit('message:send', { roomId: room, content, tempId, attachments });
      const ack = await ada.next('message:ack');
      assert.equal(ack.tempId, tempId);
      for (const each of [ada, ...others]) {
        const message = await each.next('message:new', (m) => m.content === content);
        hasFields(message, { id: MESSAGE_ID, userId: ids[0], conversationId: room, seq: 1, tempId, timestamp: ISO });
        assert.deepStrictEqual(message.attachments, asJson(attachments));
        assert.equal(message.id, ack.messageId);
      }

      const answer = await say(others[0], room);
      hasFields(await ada.next('message:new', (m) => m.content === answer), { userId: ids[1], seq: 2 });
      ada.emit('typing:start', { roomId: room });
      for (const each of others) hasFields(await each.next('typing:user'), { userId: ids[0], roomId: room, isTyping: true });
      const { messages } = accepted(await ada.emitAck('message:history', { roomId: room }));
      assert.deepStrictEqual(messages.map((m) => m.content), [content, answer]);

      ada.emit('message:send', { roomId: room });
      hasFields(await ada.next('error'), { code: 'bad_request', event: 'message:send' });
    });
  }
});

describe('what is no packet ends the connection, and only that one', () => {
  const check = (name, body) =>
    test(name, showingLog(chat, async (t) => {
      const room = unique('peace');
      await chat.members(room, 'bob');
      const bob = await connect(t, chat, { mode: 'websocket', claims: { userId: 'bob', username: 'Bob' } });
      accepted(await bob.emitAck('room:join', { roomId: room }));
      await body(t);
      await say(bob, room);
    }));
  const join = () => notepack.encode({ type: 0, nsp: '/', data: { token: sign({ userId: 'mallory' }) } });
  const packet = (data) => notepack.encode({ type: 2, nsp: '/', data });
  const deep = (levels) => Buffer.concat([packet(['x']).subarray(0, -3), Buffer.alloc(levels, 0x91)]);
  const HOSTILE = [
    ['nothing at all', Buffer.alloc(0)],
    ['noise', Buffer.from('4f2a\xc1', 'latin1')],
    ['half a packet', packet(['message:send', {}]).subarray(0, -1)],
    ['a packet and a byte', Buffer.concat([packet(['message:send', {}]), Buffer.from([0])])],
    ['a list of four thousand million', Buffer.from('83a47479706502a36e7370a12fa464617461ddffffffff', 'hex')],
    ['100,000 lists in each other', deep(100_000)],
    ['eleven binaries', packet(['x', ...Array.from({ length: 11 }, () => Buffer.from('y'))])],
    ['one binary and a placeholder', packet(['x', Buffer.from('y'), { _placeholder: true, num: 0 }])],
    ['a namespace that was not joined', notepack.encode({ type: 2, nsp: '/custom', data: ['x'] })],
    ['a packet that only a server sends', notepack.encode({ type: 4, nsp: '/', data: { message: 'x' } })],
  ];

  for (const [what, bytes] of HOSTILE) {
    check(`${what}, over WebSocket and over polling`, async () => {
      const ws = await WebSocketByHand.open(chat);
      await ws.next((text) => text.startsWith('0{'));
      ws.binary(join());
      const answer = notepack.decode(await ws.next(Buffer.isBuffer));
      assert.deepStrictEqual({ ...answer, data: Object.keys(answer.data) }, { type: 0, nsp: '/', data: ['sid'] });
      ws.binary(bytes);
      await ws.ended();

      const session = await Polling.open(chat);
      assert.equal((await session.post(`b${join().toString('base64')}`)).status, 200);
      await session.receive((text) => text.startsWith('b') && notepack.decode(Buffer.from(text.slice(1), 'base64')).type === 0);
      await session.post(`b${bytes.toString('base64')}`);
      await session.ended();
    });
  }

  check('text', async () => {
    const ws = await WebSocketByHand.open(chat);
    await ws.next((text) => text.startsWith('0{'));
    ws.text(`40${JSON.stringify({ token: sign({ userId: 'mallory' }) })}`);
    await ws.ended();
  });

  for (const mode of MODES) {
    check(`a client with the other parser, over ${mode}`, async (t) => {
      for (const [server, options] of [[echo, {}], [json, { parser }]]) {
        const stranger = client(t, server, { mode, ...options });
        stranger.socket.connect();
        await stranger.next('disconnect');
        assert.deepEqual(stranger.all('connect'), []);
      }
    });
  }
});
