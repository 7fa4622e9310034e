// Connection state recovery as the official client has it: the connection is taken away, and nothing is lost or doubled.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';

import { client, connect } from './lib/client.mjs';
import { accepted } from './lib/expect.mjs';
import { Proxy } from './lib/proxy.mjs';
import { showingLog, startServer } from './lib/server.mjs';
import { sign } from './lib/tokens.mjs';
import { PATIENCE, pause, unique, within } from './lib/wait.mjs';
import { say, saying, World } from './lib/world.mjs';

const RECONNECT = { reconnection: true, reconnectionDelay: 60, reconnectionDelayMax: 60, randomizationFactor: 0 };

/** Connects a client through `proxy`, in `room` if there is one, that comes back by itself. */
async function visitor(t, proxy, claims, { room, ...options } = {}) {
  const made = client(t, proxy, { claims, ...RECONNECT, ...options });
  await made.open();
  if (room) accepted(await made.emitAck('room:join', { roomId: room }));
  return made;
}

/** Resolves once a client that lost its connection is back; to whether as what it was. */
async function back(made) {
  await made.next('disconnect');
  await made.next('connect');
  return made.socket.recovered;
}

const texts = (made) => made.all('message:new').map((m) => m.content);
const world = (server) => new World(server, 'websocket');

for (const mode of ['websocket', 'upgrade']) {
  describe(`over ${mode}, with CORES=2`, async () => {
    const server = await startServer({ CORES: '2' });
    after(() => server.stop());

    test('of messages under load none is lost, none doubled and none out of order, however often the connection is cut', showingLog(server, async (t) => {
      const MESSAGES = 500;
      const [ann, bob] = ['Ann', 'Bob'].map((name) => world(server).claims(name));
      const room = await world(server).room(ann.userId, bob.userId);
      const proxy = await Proxy.open(t, server);
      const reader = await visitor(t, proxy, ann, { room, mode });
      const ids = new Set([reader.socket.id]);
      const seqs = [];
      const came = { recovered: 0, anew: 0 };
      let finished;
      const done = new Promise((resolve) => (finished = resolve));
      const seen = ({ seq }) => {
        seqs.push(seq);
        if (seqs.length >= MESSAGES) finished();
      };
      reader.socket.on('message:new', seen);
      reader.socket.on('connect', () => {
        ids.add(reader.socket.id);
        came[reader.socket.recovered ? 'recovered' : 'anew'] += 1;
        if (reader.socket.recovered) return;
        reader.socket.emit('room:join', { roomId: room, since: seqs.at(-1) ?? 0 });
      });
      reader.socket.on('room:joined', ({ missed, missedComplete }) => {
        assert.equal(missedComplete, true);
        missed.forEach(seen);
      });
      const writer = await connect(t, server, { claims: bob });
      accepted(await writer.emitAck('room:join', { roomId: room }));
      let cuts = 0;
      const cut = () => {
        if (seqs.length >= MESSAGES || !reader.socket.connected) return;
        // A client whose WebSocket goes after the probe was answered leaves polling paused, and knows nothing more of its
        // connection until its ping timeout, of which a test would see only that it takes 85 s.
        if (reader.socket.io.engine.upgrading) return setTimeout(cut, 5);
        cuts += 1;
        if (cuts % 3 === 2) reader.socket.io.engine.close();
        else proxy.cut();
      };
      // From at once to well after an upgrade.
      const cutSoon = () => setTimeout(cut, (cuts * 37) % 170);
      reader.socket.on('connect', cutSoon);
      cutSoon();
      for (let sent = 0; sent < MESSAGES; sent++) {
        await say(writer, room, saying('x'.repeat(sent % 300)));
        await pause(8);
      }
      await within(PATIENCE, done, () => `the last messages; ${seqs.length} came, ${JSON.stringify({ cuts, came })}`);
      assert.deepEqual(seqs, Array.from({ length: MESSAGES }, (_, i) => i + 1), JSON.stringify({ cuts, came }));
      t.diagnostic(JSON.stringify({ cuts, ...came, ids: ids.size }));
      assert.ok(came.recovered > came.anew && came.recovered >= 10, JSON.stringify({ cuts, came }));
    }));
  });
}

describe('whoever comes back', async () => {
  const server = await startServer({ CORES: '2' });
  const users = world(server);
  after(() => server.stop());

  /** Ann, through a proxy, and Bob, both in a room. */
  async function pair(t, options) {
    const [ann, bob] = ['Ann', 'Bob'].map((name) => users.claims(name));
    const room = await users.room(ann.userId, bob.userId);
    const proxy = await Proxy.open(t, server);
    const reader = await visitor(t, proxy, ann, { room, ...options });
    const writer = await connect(t, server, { claims: bob });
    accepted(await writer.emitAck('room:join', { roomId: room }));
    return { ann, bob, room, proxy, reader, writer };
  }

  test('is the same socket, in its rooms, and others hear nothing of it', showingLog(server, async (t) => {
    const { room, proxy, reader, writer } = await pair(t);
    const { id } = reader.socket;
    proxy.down();
    const missed = [await say(writer, room), await say(writer, room)];
    proxy.up();
    assert.equal(await back(reader), true);
    assert.equal(reader.socket.id, id);
    const live = await say(writer, room);
    await reader.next('message:new', (m) => m.content === live);
    assert.deepEqual(texts(reader), [...missed, live]);
    assert.equal(reader.all('room:joined').length, 1);
    assert.equal(writer.all('user:joined').length, 0);
    const [, offset] = reader.events.find((e) => e.event === 'message:new').args;
    assert.match(offset, /^[\w-]{11}$/);
    accepted(await reader.emitAck('typing:start', { roomId: room }));
    await writer.next('typing:user', (typing) => typing.isTyping);
    assert.ok(!server.log.includes(reader.socket._pid), 'E15: the private id is in the log');
  }));

  test('E15: shows a good token first, and is told nothing with a bad one', showingLog(server, async (t) => {
    const { ann, room, proxy, reader, writer } = await pair(t);
    let token = 'not a token';
    reader.socket.auth = (give) => give({ token });
    proxy.down();
    const missed = await say(writer, room);
    proxy.up();
    const error = await reader.next('connect_error', (e) => e.message === 'Invalid token');
    assert.equal(error.data.code, 'token_invalid');
    assert.deepEqual(texts(reader), []);
    token = sign(ann);
    reader.socket.connect();
    await reader.next('connect');
    assert.equal(reader.socket.recovered, true, 'the session waited for its user');
    await reader.next('message:new', (m) => m.content === missed);
  }));

  test('E15: is not somebody else', showingLog(server, async (t) => {
    const { proxy, reader, room, writer } = await pair(t);
    const { _pid: pid, _lastOffset: offset } = reader.socket;
    const sid = reader.socket.id;
    proxy.down();
    await reader.next('disconnect');
    await say(writer, room);
    const eve = client(t, server, { claims: users.claims('Eve') });
    eve.socket.auth = { ...eve.socket.auth, pid, offset };
    await eve.open();
    assert.notEqual(eve.socket.id, sid);
    assert.notEqual(eve.socket._pid, pid);
    accepted(await eve.emitAck('presence:update', { status: 'away' }));
    assert.deepEqual(texts(eve), []);
    proxy.up();
    await reader.next('connect');
    assert.equal(reader.socket.recovered, true);
  }));

  test('is not let into a room whose membership ended, nor told what was said there', showingLog(server, async (t) => {
    const { ann, bob, room, proxy, reader, writer } = await pair(t);
    const other = await users.room(ann.userId, bob.userId);
    for (const each of [reader, writer]) accepted(await each.emitAck('room:join', { roomId: other }));
    proxy.down();
    await reader.next('disconnect');
    await say(writer, room);
    const kept = await say(writer, other);
    await server.expel(room, ann.userId);
    await say(writer, room);
    proxy.up();
    await reader.next('connect');
    assert.equal(reader.socket.recovered, true);
    await say(writer, room);
    const last = await say(writer, other);
    await reader.next('message:new', (m) => m.content === last);
    assert.deepEqual(texts(reader), [kept, last]);
  }));

  test('may have received nothing at all', showingLog(server, async (t) => {
    const proxy = await Proxy.open(t, server);
    const reader = await visitor(t, proxy, users.claims('Ann'));
    const { id } = reader.socket;
    assert.equal(reader.socket._lastOffset, undefined);
    for (let i = 0; i < 3; i++) {
      proxy.cut();
      assert.equal(await back(reader), true);
      assert.equal(reader.socket.id, id);
    }
  }));

  test('has not left on purpose', showingLog(server, async (t) => {
    const { reader } = await pair(t);
    const { id } = reader.socket;
    reader.socket.disconnect();
    reader.socket.connect();
    await reader.next('connect');
    assert.equal(reader.socket.recovered, false);
    assert.notEqual(reader.socket.id, id);
  }));
});

test('after RECOVERY_MS everybody is new, and joins with since', async (t) => {
  const server = await startServer({ RECOVERY_MS: '300' });
  await showingLog(server, async () => {
    const users = world(server);
    const [ann, bob] = ['Ann', 'Bob'].map((name) => users.claims(name));
    const room = await users.room(ann.userId, bob.userId);
    const proxy = await Proxy.open(t, server);
    const reader = await visitor(t, proxy, ann, { room });
    const writer = await connect(t, server, { claims: bob });
    accepted(await writer.emitAck('room:join', { roomId: room }));
    const { id } = reader.socket;
    proxy.down();
    await reader.next('disconnect');
    const missed = await say(writer, room);
    await pause(700);
    proxy.up();
    await reader.next('connect');
    assert.equal(reader.socket.recovered, false);
    assert.notEqual(reader.socket.id, id);
    assert.deepEqual(texts(reader), []);
    const joined = accepted(await reader.emitAck('room:join', { roomId: room, since: 0 }));
    assert.deepEqual(joined.missed.map((m) => m.content), [missed]);
  })(t);
  await server.stop();
});

test('RECOVERY_MS=0: no private id and no offset', async (t) => {
  const server = await startServer({ RECOVERY_MS: '0' });
  await showingLog(server, async () => {
    const users = world(server);
    const ann = users.claims('Ann');
    const room = await users.room(ann.userId);
    const reader = await connect(t, server, { claims: ann });
    accepted(await reader.emitAck('room:join', { roomId: room }));
    await say(reader, room);
    assert.equal(reader.socket._pid, undefined);
    for (const { event, args } of reader.events.filter((e) => /:/.test(e.event))) {
      assert.equal(args.length, 1, event);
    }
  })(t);
  await server.stop();
});

test('a flood makes lost connections new ones, and what is kept does not grow', async (t) => {
  const server = await startServer();
  await showingLog(server, async () => {
    const users = world(server);
    const [ann, bob] = ['Ann', 'Bob'].map((name) => users.claims(name));
    const room = await users.room(ann.userId, bob.userId);
    const proxy = await Proxy.open(t, server);
    const reader = await visitor(t, proxy, ann, { room });
    const writer = await connect(t, server, { claims: bob });
    accepted(await writer.emitAck('room:join', { roomId: room }));
    const text = 'x'.repeat(60_000);
    const memory = () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.child.pid}/status`, 'utf8'))[1]) / 1024;
    const flood = async () => {
      for (let sent = 0; sent < 640; sent += 8) {
        await Promise.all(Array.from({ length: 8 }, () => say(writer, room, unique(text))));
      }
      return memory();
    };
    proxy.down();
    await reader.next('disconnect');
    const first = await flood(); // 38 MB, where 32 MiB are kept over all cores
    proxy.up();
    await reader.next('connect');
    assert.equal(reader.socket.recovered, false);
    assert.deepEqual(texts(reader), []);
    const second = await flood();
    t.diagnostic(`${first.toFixed(0)} MB resident after one flood, ${second.toFixed(0)} MB after two`);
    assert.ok(second < first + 24, `${first} MB, then ${second} MB`);
  })(t);
  await server.stop();
});
