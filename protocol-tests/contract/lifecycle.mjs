// Contract, sections 1, 3, 4 and 7: starting, refusing to start, keys, limits, dying and draining. Each with servers of its own.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { client, connect, MODES, refused } from '../lib/client.mjs';
import { accepted, gapless, hasFields, refusedWith } from '../lib/expect.mjs';
import { http } from '../lib/http.mjs';
import { refusesToStart, showingLog, startServer } from '../lib/server.mjs';
import { seconds, sign } from '../lib/tokens.mjs';
import { pause } from '../lib/wait.mjs';
import { everythingSince, say, saying, settled, World } from '../lib/world.mjs';

const HANDSHAKE = '/socket.io/?EIO=4&transport=polling';
const fine = { userId: 'ada', username: 'Ada' };

/** A test with a server of its own, which is stopped (and its log checked) when the test has passed or failed. */
function onServer(name, env, body, options) {
  test(name, async (t) => {
    const server = await startServer(env, options);
    try {
      await showingLog(server, () => body(t, server))(t);
    } catch (error) {
      await server.signal('SIGKILL');
      throw error;
    }
    if (server.running) await server.stop();
  });
}

export function starting() {
  test('start: production without a key is refused, and the variable is named', async () => {
    for (const JWT_SECRET of ['', undefined]) {
      const { code, log } = await refusesToStart({ JWT_SECRET });
      assert.ok(code > 0, `exit code ${code}`);
      assert.match(log, /JWT_SECRET/);
    }
  });

  const development = { NODE_ENV: 'development', JWT_SECRET: undefined };
  onServer('start: development without a secret prints a token that works', development, async (t, server) => {
    const [token] = server.log.match(/eyJ[\w-]+\.[\w-]+\.[\w-]+/) ?? [];
    assert.ok(token, 'a token in the log');
    const user = await connect(t, server, { token });
    accepted(await user.emitAck('room:join', { roomId: 'lobby' }));
    await say(user, 'lobby');
    const { userId } = await user.next('message:new');
    assert.doesNotMatch(String(userId), /^guest_/, 'the token names somebody');
  }, { mayPrintToken: true });

  onServer('start: development lets in guests without a token, but no bad tokens', { NODE_ENV: 'development' }, async (t, server) => {
    for (const mode of MODES) {
      const guest = await connect(t, server, { mode });
      const room = `open-${mode}`;
      accepted(await guest.emitAck('room:join', { roomId: room }));
      await say(guest, room);
      hasFields(await guest.next('message:new'), { userId: /^guest_\d{13}$/, username: 'Guest User' });
      const error = await refused(t, server, { mode, token: 'nonsense' });
      hasFields(error, { message: 'Invalid token', data: { code: 'token_invalid' } });
    }
  });

  onServer('start: JWT_REQUIRE_EXP refuses a token without an end', { JWT_REQUIRE_EXP: 'true' }, async (t, server) => {
    hasFields(await refused(t, server, { claims: fine }), { message: 'Invalid token' });
    await connect(t, server, { claims: { ...fine, exp: seconds(600) } });
  });

  const pairs = {
    RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    EdDSA: generateKeyPairSync('ed25519'),
  };
  for (const [alg, { publicKey, privateKey }] of Object.entries(pairs)) {
    const pem = publicKey.export({ type: 'spki', format: 'pem' });
    const env = { JWT_SECRET: undefined, JWT_PUBLIC_KEY: pem };
    onServer(`start: with a public key for ${alg} the key says the algorithm, not the token`, env, async (t, server) => {
      await connect(t, server, { token: sign(fine, { alg, key: privateKey }) });
      const forged = [
        sign(fine, { alg: 'HS256', key: pem }),
        sign(fine, { alg: 'HS256', key: pem.trim() }),
        sign(fine, { alg: 'HS256', key: publicKey.export({ type: 'spki', format: 'der' }) }),
        sign(fine, { alg: 'HS256', key: '' }),
        sign(fine, { alg: 'none' }),
        ...Object.entries(pairs).filter(([other]) => other !== alg).map(([other, pair]) => sign(fine, { alg: other, key: pair.privateKey })),
      ];
      for (const token of forged) {
        hasFields(await refused(t, server, { token }), { message: 'Invalid token', data: { code: 'token_invalid' } });
      }
    });
  }

  test('start: a public key may be a file', async (t) => {
    const { publicKey, privateKey } = pairs.ES256;
    const first = await startServer();
    const file = join(first.dataDir, 'key.pem');
    writeFileSync(file, publicKey.export({ type: 'spki', format: 'pem' }));
    await first.stop();
    const server = await startServer({ JWT_SECRET: undefined, JWT_PUBLIC_KEY: file });
    await connect(t, server, { token: sign(fine, { alg: 'ES256', key: privateKey }) });
    await server.stop();
  });
}

export function enduring() {
  for (const mode of MODES) {
    onServer(`persistence over ${mode}: what was acknowledged survives SIGKILL`, {}, async (t, server) => {
      const { room, users: [ada], claims } = await new World(server, mode).party(t, 'Ada');
      await say(ada, room, saying(), { clientMsgId: 'before' });
      const content = await say(ada, room);
      await server.kill();
      const again = await server.restart();
      const user = await connect(t, again, { mode, claims: claims[0] });
      const { messages } = await everythingSince(user, room, 1);
      assert.deepEqual(messages.map((m) => [m.seq, m.content]), [[2, content]]);
      hasFields(messages[0], { _id: ada.all('message:new')[1]._id });
      hasFields(await user.emitAck('message:send', { roomId: room, content: saying(), clientMsgId: 'before' }), { ok: true, seq: 1 });
      await say(user, room);
      hasFields(await user.next('message:new'), { seq: 3 }, 'the next message');
      await again.stop();
    });
  }

  for (const mode of MODES) {
    const small = { MAX_CONNECTIONS_PER_IP: '3' };
    onServer(`newcomers over ${mode}: who is told 503 comes again by itself`, small, async (t, server) => {
      const sids = [];
      for (let n = 0; n < 3; n++) sids.push(JSON.parse((await http(server, HANDSHAKE)).text.slice(1)).sid);
      assert.equal((await http(server, HANDSHAKE)).headers['retry-after'], '1');
      const again = { reconnection: true, reconnectionDelay: 100, reconnectionDelayMax: 200 };
      const late = client(t, server, { claims: fine, mode, ...again });
      await late.refusal();
      // One of them goes, and takes its last packets with it.
      await http(server, `${HANDSHAKE}&sid=${sids[0]}`, { method: 'POST', body: '1' });
      await http(server, `${HANDSHAKE}&sid=${sids[0]}`);
      await late.next('connect');
    });

    const limited = { RATE_LIMIT_EVENTS: '10' };
    onServer(`rate limit over ${mode}: beyond the burst the sender is told when to come back`, limited, async (t, server) => {
      const { room, users: [ada] } = await new World(server, mode).party(t, 'Ada');
      const asked = Array.from({ length: 60 }, () => ada.emitAck('message:send', { roomId: room, content: saying() }));
      // In the same breath, or the bucket could have filled again.
      ada.emit('message:send', { roomId: room, content: saying(), tempId: 'late' });
      const answers = await Promise.all(asked);
      const late = answers.filter((a) => !a.ok);
      assert.ok(late.length > 0 && late.length < 60, `${late.length} of 60 were refused`);
      for (const answer of late) {
        const { retryAfter } = refusedWith(answer, 'rate_limited');
        assert.ok(retryAfter > 0, `retryAfter is ${retryAfter}`);
      }
      const error = await ada.next('error', (e) => e.tempId === 'late');
      hasFields(error, { code: 'rate_limited', event: 'message:send' }, 'error');
      assert.ok(error.retryAfter > 0, `retryAfter is ${error.retryAfter}`);
      let answer = late[0];
      for (let tries = 0; !answer.ok && tries < 40; tries++) {
        await pause(250);
        answer = await ada.emitAck('message:send', { roomId: room, content: saying() });
      }
      accepted(answer, 'after a while');
      gapless(await ada.collect('message:new', 61 - late.length));
      assert.equal(answer.seq, 61 - late.length, 'what was refused was not stored');
    });
  }

  onServer('drain: SIGTERM tells every client when to come back, and ends with 0', {}, async (t, server) => {
    const rooms = [];
    for (const mode of MODES) {
      rooms.push(await new World(server, mode).party(t, 'Ada', 'Bob'));
      await settled(rooms.at(-1).users[0], rooms.at(-1).room, ...rooms.at(-1).users);
    }
    const stopped = server.stop();
    for (const client of rooms.flatMap((r) => r.users)) {
      const { reconnectIn } = await client.next('server:draining');
      assert.ok(Number.isFinite(reconnectIn) && reconnectIn >= 0, `reconnectIn is ${reconnectIn}`);
    }
    await stopped;
  });

  onServer('drain: what is on its way when SIGTERM comes is answered or was not stored', {}, async (t, server) => {
    const { room, users: [ada], claims } = await new World(server, 'websocket').party(t, 'Ada');
    const acknowledged = [];
    for (let i = 0; i < 200; i++) {
      ada.socket.emit('message:send', { roomId: room, content: saying(), clientMsgId: `c${i}` }, (a) => a.ok && acknowledged.push(a.seq));
    }
    await ada.next('message:ack');
    await server.stop();
    const again = await server.restart();
    const user = await connect(t, again, { claims: claims[0] });
    const { messages } = await everythingSince(user, room, 0);
    gapless(messages);
    assert.ok(acknowledged.length > 0 && acknowledged.length <= messages.length, `${acknowledged.length} acks`);
    const stored = new Set(messages.map((m) => m.seq));
    assert.deepEqual(acknowledged.filter((seq) => !stored.has(seq)), [], 'acknowledged and not stored');
    await again.stop();
  });

  for (const mode of MODES) {
    onServer(`presence over ${mode}: PRESENCE_SCOPE=all tells every socket`, { PRESENCE_SCOPE: 'all', PRESENCE_GRACE_MS: '200' }, async (t, server) => {
      const world = new World(server, mode);
      const [ada, bob] = [world.claims('Ada'), world.claims('Bob')];
      const watcher = await world.user(t, ada);
      accepted(await watcher.emitAck('presence:update', { status: 'online' }));
      const stranger = await world.user(t, bob);
      hasFields(await watcher.next('user:online', (e) => e.userId === bob.userId), bob);
      accepted(await stranger.emitAck('presence:update', { status: 'busy' }));
      hasFields(await watcher.next('presence:changed', (e) => e.userId === bob.userId), { ...bob, status: 'busy' });
      stranger.disconnect();
      hasFields(await watcher.next('user:offline', (e) => e.userId === bob.userId), bob);
    });
  }
}
