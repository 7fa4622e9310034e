// What the databases and the machine can do to a server on PostgreSQL and MongoDB, with clients that go on talking.
// FAULT_ROUNDS says how often each process is killed: few in `make test`, many in `make faults`.

import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync } from 'node:fs';
import { after, test } from 'node:test';

import { MongoClient } from 'mongodb';

import { client, connect } from './lib/client.mjs';
import { accepted, gapless, hasFields, refusedWith } from './lib/expect.mjs';
import { Ledger, Talker } from './lib/ledger.mjs';
import { showingLog, startServer } from './lib/server.mjs';
import { databases } from './lib/services.mjs';
import { pause, unique, within } from './lib/wait.mjs';
import { say, saying } from './lib/world.mjs';

const ROUNDS = Number(process.env.FAULT_ROUNDS ?? 2);
assert.ok(Number.isInteger(ROUNDS) && ROUNDS > 0, `FAULT_ROUNDS is ${process.env.FAULT_ROUNDS}`);
const PERSIST_TIMEOUT_MS = 4_000;
const PEOPLE = ['ada', 'bob', 'cy', 'dee'];
const out = new URL('out/faults.jsonl', import.meta.url).pathname;

const services = await databases();
const mongo = new MongoClient(services.mongo.uri);
const env = { ...services.env, PERSIST_TIMEOUT_MS: String(PERSIST_TIMEOUT_MS), LOG_LEVEL: 'info' };
let server = await startServer(env);
after(async () => {
  await mongo.close();
  await server.stop();
  await services.stop();
});

const RECONNECT = { reconnection: true, reconnectionDelay: 60, reconnectionDelayMax: 60 };

const random = (from, to) => from + Math.random() * (to - from);

/** Connects somebody who tries again until the server takes clients, which is a moment after it answers `/health`. */
async function connectSoon(t, to, claims) {
  const made = client(t, to, { claims, ...RECONNECT });
  made.socket.connect();
  await made.next('connect');
  return made;
}

/** What is stored of these rooms, past the server. */
async function dump(rooms) {
  const documents = await mongo.db().collection('messages').find({ room: { $in: rooms } }).toArray();
  return documents.map(({ _id, room, seq, clientMsgId, read }) => ({
    id: String(_id), room, seq: Number(seq), clientMsgId, read,
  }));
}

/** Writes a row of the report. */
function report(t, row) {
  mkdirSync(new URL('out/', import.meta.url).pathname, { recursive: true });
  appendFileSync(out, `${JSON.stringify(row)}\n`);
  t.diagnostic(JSON.stringify(row));
}

/** Four people talk in two rooms while `fault` happens `rounds` times; then everything is said, and the books are checked. */
async function underLoad(t, name, rounds, fault) {
  const rooms = [unique(`${name}-a`), unique(`${name}-b`)];
  const claims = PEOPLE.map((person) => ({ userId: unique(person), username: person }));
  for (const room of rooms) await server.members(room, ...claims.map((c) => c.userId));
  const ledger = new Ledger(name, PERSIST_TIMEOUT_MS);
  const talkers = claims.map((each) => new Talker(ledger, server.url, each, rooms));
  t.after(() => talkers.forEach((talker) => talker.close()));
  await within(20_000, Promise.all(talkers.map((talker) => talker.ready)), () => 'everybody to join');
  const recoveries = [];
  for (let round = 0; round < rounds; round++) {
    await pause(random(100, 1_000));
    const back = await fault({ round, rooms, claims, ledger, talkers });
    const acked = ledger.acked.size;
    while (ledger.acked.size === acked) {
      assert.ok(performance.now() - back < 30_000, `nothing is acknowledged any more\n${server.tail()}`);
      await pause(5);
    }
    recoveries.push(performance.now() - back);
  }
  await pause(300);
  await within(60_000, Promise.all(talkers.map((talker) => talker.finish())), () => `everything to be acked\n${server.tail()}`);
  await pause(300);
  const stored = await dump(rooms);
  const counts = ledger.check(stored);
  assert.equal(stored.length, ledger.sent.size, 'each message that was ever sent is stored once');
  const { refused } = ledger;
  const [sent, acked] = [ledger.sent.size, ledger.acked.size];
  // The next row is not to be slowed down by a collection that grew: the server that stands in for MongoDB scans it.
  await mongo.db().collection('messages').deleteMany({ room: { $in: rooms } });
  recoveries.sort((a, b) => a - b);
  const [recoveryMs, longestRecoveryMs] = [recoveries[(rounds - 1) >> 1], recoveries.at(-1)].map(Math.round);
  const times = { worstAnswerMs: Math.round(ledger.worst), recoveryMs, longestRecoveryMs };
  report(t, { row: name, rounds, sent, acked, receipts: ledger.read.size, refused, ...counts, ...times });
  return { refused, recoveryMs };
}

const faulty = (name, body) => test(name, async (t) => showingLog(server, body)(t));

faulty('MongoDB is killed in the middle of batches', async (t) => {
  const { recoveryMs } = await underLoad(t, 'mongo-killed', ROUNDS, async () => {
    await services.mongo.kill();
    await pause(random(0, 500));
    await services.mongo.start();
    return performance.now();
  });
  assert.ok(recoveryMs < 2_000, `the first durable ack came ${recoveryMs} ms after MongoDB was back`);
});

faulty('PostgreSQL is killed under load: members in rooms go on talking, nobody is let in by guess', async (t) => {
  const stranger = await connect(t, server, { claims: { userId: unique('eve'), username: 'Eve' } });
  await underLoad(t, 'postgres-killed', ROUNDS, async ({ round, rooms, ledger }) => {
    await (round % 2 ? services.postgres.kill() : services.postgres.stop());
    const before = ledger.acked.size;
    const answer = await stranger.emitAck('room:join', { roomId: rooms[0] });
    refusedWith(answer, 'unavailable', 'the join of somebody unknown');
    assert.ok(ledger.acked.size > before, 'members go on being acknowledged');
    await services.postgres.start();
    return performance.now();
  });
  const room = unique('after');
  await server.members(room, 'nobody');
  refusedWith(await stranger.emitAck('room:join', { roomId: room }), 'access_denied');
});

faulty('the server is killed under load', async (t) => {
  await underLoad(t, 'server-killed', ROUNDS, async () => {
    await server.kill();
    server = await server.restart({ port: server.port });
    return performance.now();
  });
});

faulty('the server is asked to stop under load', async (t) => {
  await underLoad(t, 'sigterm', ROUNDS, async () => {
    const since = performance.now();
    await server.stop(); // asserts exit code 0
    assert.ok(performance.now() - since < 11_000, 'within DRAIN_TIMEOUT_MS');
    server = await server.restart({ port: server.port });
    return performance.now();
  });
});

faulty('MongoDB stands still: sends are refused in time, typing goes on', async (t) => {
  const claims = ['kim', 'lee'].map((name) => ({ userId: unique(name), username: name }));
  const roomId = unique('typing');
  await server.members(roomId, ...claims.map((c) => c.userId));
  const [kim, lee] = await Promise.all(claims.map((each) => connect(t, server, { claims: each })));
  for (const each of [kim, lee]) accepted(await each.emitAck('room:join', { roomId }));
  const { refused } = await underLoad(t, 'mongo-paused', 1, async () => {
    services.mongo.pause();
    const until = performance.now() + Number(process.env.FAULT_PAUSE_MS ?? 6_000);
    let worst = 0;
    while (performance.now() < until) {
      const since = performance.now();
      kim.emit('typing:start', { roomId });
      await lee.next('typing:user', (typing) => typing.isTyping);
      worst = Math.max(worst, performance.now() - since);
      kim.emit('typing:stop', { roomId });
      await lee.next('typing:user', (typing) => !typing.isTyping);
      await pause(50);
    }
    services.mongo.resume();
    assert.ok(worst < 500, `typing took ${worst} ms`);
    return performance.now();
  });
  assert.ok(refused.unavailable > 0, 'who waited too long was told so');
});

faulty('MongoDB is down when the server starts', async (t) => {
  const claims = { userId: unique('early'), username: 'Early' };
  const roomId = unique('early');
  await server.members(roomId, claims.userId);
  await services.mongo.stop();
  const early = await startServer(env, { until: '/health' });
  t.after(() => early.stop());
  const ready = await fetch(`${early.url}/readyz`);
  assert.equal(ready.status, 503);
  const { stores } = await ready.json();
  assert.notEqual(stores.messages, 'ok', JSON.stringify(stores));
  const user = await connectSoon(t, early, claims);
  const since = performance.now();
  refusedWith(await user.emitAck('message:send', { roomId, content: saying() }), 'unavailable');
  assert.ok(performance.now() - since < PERSIST_TIMEOUT_MS + 1_500, 'in time');
  await services.mongo.start();
  const back = performance.now();
  await say(user, roomId);
  const took = performance.now() - back;
  assert.ok(took < 2_000, `the first ack came ${took} ms after it was up`);
  assert.equal((await fetch(`${early.url}/readyz`)).status, 200);
  // The other server lost it too.
  await say(await connect(t, server, { claims }), roomId);
});

faulty('J8: PostgreSQL is down when the server starts: nobody is let in before it is known who is revoked', async (t) => {
  const [claims, revoked] = ['early', 'eve'].map((name) => ({ userId: unique(name), username: name }));
  const roomId = unique('early');
  await server.members(roomId, claims.userId, revoked.userId);
  await server.operator('revoke', '--user', revoked.userId);
  await services.postgres.stop();
  const early = await startServer(env, { until: '/health' });
  t.after(() => early.stop());
  const ready = await fetch(`${early.url}/readyz`);
  assert.equal(ready.status, 503);
  const { stores } = await ready.json();
  assert.notEqual(stores.structure, 'ok', JSON.stringify(stores));
  const answer = await fetch(`${early.url}/socket.io/?EIO=4&transport=polling`);
  assert.deepEqual([answer.status, answer.headers.get('retry-after')], [503, '1']);
  const [ada, eve] = [claims, revoked].map((each) => client(t, early, { claims: each, ...RECONNECT }));
  for (const each of [ada, eve]) each.socket.connect();
  for (const each of [ada, eve]) await each.collect('connect_error', 2);
  await services.postgres.start();
  const back = performance.now();
  await ada.next('connect');
  await say(ada, roomId);
  const took = performance.now() - back;
  assert.ok(took < 2_000, `the first ack came ${took} ms after it was up`);
  await eve.next('connect_error', (error) => error.data?.code === 'token_invalid');
  assert.deepEqual(eve.all('connect'), []);
  assert.equal((await fetch(`${early.url}/readyz`)).status, 200);
  // The other server lost it too.
  await say(await connect(t, server, { claims }), roomId);
});

faulty('connections to PostgreSQL are ended while receipts flow', async (t) => {
  const claims = ['ron', 'sue'].map((name) => ({ userId: unique(name), username: name }));
  const roomId = unique('receipts');
  await server.members(roomId, ...claims.map((c) => c.userId));
  const [ron, sue] = await Promise.all(claims.map((each) => connect(t, server, { claims: each })));
  for (const each of [ron, sue]) accepted(await each.emitAck('room:join', { roomId }));
  const ids = [];
  for (let i = 0; i < 60; i++) {
    const { messageId } = accepted(await ron.emitAck('message:send', { roomId, content: saying() }));
    ids.push(messageId);
  }
  let ended = 0;
  for (const [i, messageId] of ids.entries()) {
    if (i % 10 === 5) {
      const sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'alt-ws'";
      ended += Number(services.postgres.psql(sql));
    }
    accepted(await sue.emitAck('message:read', { roomId, messageId }));
  }
  assert.ok(ended > 0, 'some connections were ended');
  const sql = `SELECT delivered_seq, read_seq FROM read_state WHERE conversation_id = '${roomId}' AND user_id = '${claims[1].userId}'`;
  assert.equal(services.postgres.psql(sql).trim(), '60|60');
  const read = await mongo.db().collection('messages').countDocuments({ room: roomId, read: true });
  assert.equal(read, 60);
});

faulty('a member who is removed by another service is out of the room within a second', async (t) => {
  const claims = ['tim', 'una'].map((name) => ({ userId: unique(name), username: name }));
  const roomId = unique('removed');
  await server.members(roomId, ...claims.map((c) => c.userId));
  const [tim, una] = await Promise.all(claims.map((each) => connect(t, server, { claims: each })));
  for (const each of [tim, una]) accepted(await each.emitAck('room:join', { roomId }));
  await say(una, roomId);
  await tim.next('message:new');
  const since = performance.now();
  services.postgres.psql(
    `DELETE FROM conversation_members WHERE conversation_id = '${roomId}' AND user_id = '${claims[0].userId}'`,
  );
  hasFields(await tim.next('error'), { code: 'access_denied', event: 'room:join', roomId });
  const took = performance.now() - since;
  assert.ok(took < 1_000, `out after ${took} ms`);
  await una.next('user:left', (left) => left.userId === claims[0].userId);
  await say(una, roomId);
  await una.collect('message:new', 2);
  assert.equal(tim.all('message:new').length, 1, 'nothing more is shown');
  refusedWith(await tim.emitAck('message:send', { roomId, content: saying() }), 'access_denied');
});

faulty('two servers on the same databases keep one gapless order', async (t) => {
  const other = await startServer(env);
  t.after(() => other.stop());
  const roomId = unique('shared');
  const claims = PEOPLE.map((person) => ({ userId: unique(person), username: person }));
  await server.members(roomId, ...claims.map((c) => c.userId));
  const ledger = new Ledger('two-servers', PERSIST_TIMEOUT_MS);
  const talkers = claims.map((each, i) => new Talker(ledger, [server, other][i % 2].url, each, [roomId]));
  t.after(() => talkers.forEach((talker) => talker.close()));
  await Promise.all(talkers.map((talker) => talker.ready));
  await pause(2_000);
  await within(60_000, Promise.all(talkers.map((talker) => talker.finish())), () => 'everything to be acked');
  const stored = await dump([roomId]);
  const counts = ledger.check(stored);
  gapless(stored.sort((a, b) => a.seq - b.seq));
  assert.equal(stored.length, ledger.sent.size);
  const { refused, worst } = ledger;
  const [sent, acked] = [ledger.sent.size, ledger.acked.size];
  report(t, { row: 'two-servers', rounds: 1, sent, acked, receipts: ledger.read.size, refused, ...counts, worstAnswerMs: Math.round(worst) });
});
