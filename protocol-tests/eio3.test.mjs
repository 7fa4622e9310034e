// Clients of Engine.IO 3 and Socket.IO 4: socket.io-client 2 as it is, against servers with ALLOW_EIO3 and without.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';

import io from 'socket.io-client-2';

import { connect, MODES } from './lib/client.mjs';
import { http } from './lib/http.mjs';
import { showingLog, startConformance, startServer } from './lib/server.mjs';
import { sign } from './lib/tokens.mjs';
import { PATIENCE, unique, within } from './lib/wait.mjs';

const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };

/** Pings come every 300 ms; the patience for them is what a busy machine needs. */
const echo = await startConformance({ ALLOW_EIO3: 'true' }, '--ping-timeout', '5000');
after(() => echo.signal('SIGKILL'));
const impatient = await startConformance({ ALLOW_EIO3: 'true' }, '--ping-timeout', '200');
after(() => impatient.signal('SIGKILL'));
const chat = await startServer({ ALLOW_EIO3: 'true', OPEN_ROOMS: 'true' });
after(() => chat.stop());
const strict = await startServer();
after(() => strict.stop());

/** The first `event` of an emitter, as its list of arguments; fails at once when a socket is disconnected instead. */
function next(emitter, event) {
  const come = new Promise((resolve, reject) => {
    emitter.once(event, (...args) => resolve(args));
    if (event !== 'disconnect') emitter.once('disconnect', (reason) => reject(new Error(`${reason} instead of ${event}`)));
  });
  come.catch(() => {}); // what is no longer waited for may fail
  return within(PATIENCE, come, () => event);
}

/** A client that goes when the test ends, and is not connected yet. */
function old(t, server, { mode, namespace = '/', token, ...options }) {
  const extraHeaders = token && { Authorization: `Bearer ${token}` };
  const socket = io(server.url + namespace, {
    transports: TRANSPORTS[mode],
    upgrade: mode === 'upgrade',
    forceNew: true,
    reconnection: false,
    autoConnect: false,
    transportOptions: { polling: { extraHeaders }, websocket: { extraHeaders } },
    ...options,
  });
  t.after(() => socket.disconnect());
  return socket;
}

/** A connected client; in upgrade mode, one that has been upgraded. */
async function connected(t, server, options) {
  const socket = old(t, server, options);
  const refused = new Promise((_, reject) => socket.once('error', (error) => reject(new Error(`refused: ${JSON.stringify(error)}`))));
  refused.catch(() => {}); // also after it was connected
  socket.open();
  const upgraded = options.mode === 'upgrade' && next(socket.io.engine, 'upgrade');
  await Promise.race([next(socket, 'connect'), refused]);
  await upgraded;
  return socket;
}

/** Emits with a callback, and resolves to what it is called with. */
const ask = (socket, event, ...args) =>
  within(PATIENCE, new Promise((resolve) => socket.emit(event, ...args, (...answer) => resolve(answer))), () => `the ack of ${event}`);

/** What was sent came back, and bytes as bytes. */
function same(actual, expected) {
  assert.deepEqual(JSON.parse(JSON.stringify(actual)), JSON.parse(JSON.stringify(expected)));
  actual.forEach((arg, i) => assert.equal(Buffer.isBuffer(arg), Buffer.isBuffer(expected[i])));
}

const ARGUMENTS = [
  ['text', ['plain', 'ä€ 👩‍🚀 \u2028 "quoted" \\ 1:2']],
  ['values', [1, -2.5, true, null, [1, [2]], { a: { b: [] } }]],
  ['bytes', [Buffer.from([0, 1, 2, 255])]],
  ['bytes inside', [{ a: Buffer.from('x'), b: [Buffer.alloc(0), { c: Buffer.alloc(70_000, 7) }] }, 'ä😀']],
];

for (const mode of MODES) {
  for (const forceBase64 of [false, true]) {
    describe(`Socket.IO 4 over ${mode}${forceBase64 ? ', in base64' : ''}`, () => {
      const check = (name, body) => test(name, showingLog(echo, body));

      for (const [what, args] of ARGUMENTS) {
        check(`events and acks both ways: ${what}`, async (t) => {
          const socket = await connected(t, echo, { mode, forceBase64 });
          const back = next(socket, 'message-back');
          socket.emit('message', ...args);
          same(await back, args);
          same(await ask(socket, 'message-with-ack', ...args), args);

          const asked = next(socket, 'emit-with-ack');
          socket.emit('emit-with-ack', ...args);
          const question = await asked;
          const answered = next(socket, 'emit-with-ack');
          question.pop()(...args);
          same(question, args);
          same(await answered, args);
          assert.equal(socket.io.engine.transport.name, mode === 'upgrade' ? 'websocket' : mode);
        });
      }

      check('a hundred events keep their order across the upgrade', async (t) => {
        const socket = old(t, echo, { mode, forceBase64 });
        const numbers = [];
        const all = new Promise((resolve) =>
          socket.on('message-back', (number) => numbers.push(number) === 100 && resolve()),
        );
        socket.open();
        await next(socket, 'connect');
        for (let i = 0; i < 100; i++) socket.emit('message', i, ...(i % 10 ? [] : [Buffer.from([i])]));
        await within(PATIENCE, all, () => `100 events; ${numbers.length} came`);
        assert.deepEqual(numbers, Array.from({ length: 100 }, (_, i) => i));
      });

      check('another namespace, with a query', async (t) => {
        const socket = await connected(t, echo, { mode, forceBase64, namespace: '/custom', query: { a: 'b c' } });
        same(await ask(socket, 'message-with-ack', 1, Buffer.from([2])), [1, Buffer.from([2])]);
      });

      check('the client pings, and lives on for many intervals', async (t) => {
        const socket = await connected(t, echo, { mode, forceBase64 });
        for (let pongs = 0; pongs < 5; pongs++) await next(socket, 'pong');
        same(await ask(socket, 'message-with-ack', 'alive'), ['alive']);
      });
    });
  }

  describe(`the chat and socket.io-client 2 over ${mode}`, () => {
    const check = (name, body) => test(name, showingLog(chat, body));

    check('a room with a client of today', async (t) => {
      const roomId = unique('room');
      const ada = await connected(t, chat, { mode, token: sign({ userId: unique('ada'), username: 'Ada' }) });
      const bob = await connect(t, chat, { mode, claims: { userId: unique('bob'), username: 'Bob' } });
      assert.equal((await ask(ada, 'room:join', { roomId }))[0].ok, true);
      const arrival = next(ada, 'user:joined');
      assert.equal((await bob.emitAck('room:join', { roomId })).ok, true);
      assert.equal((await arrival)[0].username, 'Bob');

      const toBoth = next(ada, 'message:new');
      const [answer] = await ask(ada, 'message:send', { roomId, content: 'said: ä😀' });
      assert.equal(answer.ok, true);
      assert.equal((await toBoth)[0].content, 'said: ä😀');
      assert.equal((await bob.next('message:new')).id, answer.messageId);

      const back = next(ada, 'message:new');
      await bob.emitAck('message:send', { roomId, content: 'said: hello' });
      assert.deepEqual((({ content, seq }) => [content, seq])((await back)[0]), ['said: hello', 2]);

      ada.disconnect();
      assert.equal((await bob.next('user:offline')).username, 'Ada');
    });

    for (const [what, options, message] of [
      ['no token', {}, 'Authentication required'],
      ['a token that is none', { token: 'abc' }, 'Invalid token'],
      ['a token in the query', { query: { token: sign({ userId: 'eve' }) } }, 'Authentication required'],
    ]) {
      check(`refused: ${what}`, async (t) => {
        const socket = old(t, chat, { mode, ...options });
        const refused = next(socket, 'error');
        socket.open();
        assert.deepEqual(await refused, [message]);
        assert.equal(socket.connected, false);
      });
    }

    test('E4: refused where ALLOW_EIO3 is not set', showingLog(strict, async (t) => {
      const socket = old(t, strict, { mode, token: sign({ userId: 'ada' }) });
      const refused = next(socket, 'connect_error');
      socket.open();
      await refused;
    }));
  });
}

test('E4: the refusal says which version is not supported', async () => {
  const { status, text } = await http(strict, '/socket.io/?EIO=3&transport=polling');
  assert.deepEqual([status, JSON.parse(text)], [400, { code: 5, message: 'Unsupported protocol version' }]);
});

for (const mode of ['polling', 'websocket']) {
  test(`over ${mode}, a client that does not ping is gone after interval and timeout`, showingLog(impatient, async (t) => {
    const socket = await connected(t, impatient, { mode });
    const started = performance.now();
    const gone = next(socket, 'disconnect');
    clearTimeout(socket.io.engine.pingIntervalTimer);
    clearTimeout(socket.io.engine.pingTimeoutTimer);
    socket.io.engine.setPing = () => {};
    socket.io.engine.onHeartbeat = () => {};
    socket.io.engine.removeAllListeners('heartbeat');
    assert.notEqual((await gone)[0], 'ping timeout', 'it was not the client that gave up');
    const lived = performance.now() - started;
    assert.ok(lived > 300, `${lived} ms`); // 300 ms and 200 ms, from a moment before
  }));
}
