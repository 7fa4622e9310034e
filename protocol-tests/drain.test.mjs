// SIGTERM to a server that works at seven tenths of what it can take. Real clients talk over each transport while `alt-ws load`
// makes the load; afterwards the books of both are held against what the store has. DRAIN_ROUNDS says how often.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { connect } from './lib/client.mjs';
import { gapless } from './lib/expect.mjs';
import { Ledger } from './lib/ledger.mjs';
import { altWsBinary, Process, startServer, temporaryFolder } from './lib/server.mjs';
import { startMongo } from './lib/services.mjs';
import { speakers } from './lib/speakers.mjs';
import { SECRET } from './lib/tokens.mjs';
import { pause, unique, within } from './lib/wait.mjs';
import { everythingSince } from './lib/world.mjs';

const ROUNDS = Number(process.env.DRAIN_ROUNDS ?? 2);
assert.ok(Number.isInteger(ROUNDS) && ROUNDS > 0, `DRAIN_ROUNDS is ${process.env.DRAIN_ROUNDS}`);
const SHARE = 0.7;
const DRAIN_TIMEOUT_MS = 10_000;
const PERSIST_TIMEOUT_MS = 10_000;
const ENV = { OPEN_ROOMS: 'true', LOG_LEVEL: 'info', DRAIN_TIMEOUT_MS: String(DRAIN_TIMEOUT_MS) };
const [CLIENTS, ROOMS] = [64, 16];
const CROWD = [`--clients=${CLIENTS}`, `--rooms=${ROOMS}`, `--senders=${CLIENTS}`, '--durable'];
/** How long each part of a round may take on a busy machine, in ms. */
const PATIENCE = 60_000;

/** `alt-ws load` against a server. */
class Load extends Process {
  constructor(server, ...args) {
    const all = ['load', server.url, '--secret', SECRET, '--json', ...CROWD, ...args];
    super(altWsBinary(), all, {}, temporaryFolder());
  }

  /** Resolves once messages flow. */
  async flows() {
    for (const deadline = Date.now() + PATIENCE; !this.log.includes('phase running'); await pause(5)) {
      assert.ok(this.running && Date.now() < deadline, `the load does not begin\n${this.tail()}`);
    }
  }

  /** Its report, once it has ended well. */
  async report() {
    const end = await within(PATIENCE, this.exited, () => `the end of the load\n${this.tail()}`);
    assert.equal(end.code, 0, this.tail());
    return JSON.parse(this.log.split('\n').find((line) => line.startsWith('{')));
  }
}

/** What the server takes, in acknowledged messages a second. */
async function calibrate() {
  const server = await startServer(ENV);
  const report = await new Load(server, '--in-flight=16', '--seconds=1').report();
  await server.stop();
  return Math.round(report.acked_per_second);
}

/** CPU time of a process in ms, from the kernel's accounting of 10 ms each. */
function cpu(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** What `/readyz` answers from now on, and a handshake once the server is not ready, as long as there is an answer. */
function watch(server) {
  const seen = { ready: [], handshakes: [] };
  const ask = async (path, statuses) => {
    try {
      const response = await fetch(server.url + path, { headers: { connection: 'close' } });
      statuses.push(response.status);
      await response.body?.cancel();
    } catch {
      // nobody listens any more
    }
  };
  seen.over = (async () => {
    while (server.running) {
      await ask('/readyz', seen.ready);
      if (seen.ready.includes(503)) await ask('/socket.io/?EIO=4&transport=polling', seen.handshakes);
      await pause(5);
    }
  })();
  return seen;
}

/** SIGTERM; ends with 0, in time, not ready and closed to newcomers from the first moment to the last. */
async function drain(server, people, timeout) {
  const seen = watch(server);
  while (seen.ready.length === 0) await pause(1);
  const since = performance.now();
  await server.stop();
  const took = performance.now() - since;
  assert.ok(took < timeout, `${took} ms`);
  await within(PATIENCE, Promise.all(people.map((one) => one.gone)), () => 'the clients to be disconnected');
  await seen.over;
  for (const statuses of [seen.ready, seen.handshakes]) {
    const after = statuses.slice(statuses.includes(503) ? statuses.indexOf(503) : statuses.length);
    assert.ok(after.every((status) => status === 503), `${after}`);
  }
  const times = people.map((one) => one.farewell());
  assert.ok(new Set(times).size > people.length / 2, `asked to come back in ${times} ms`);
  return { took: Math.round(took), seen };
}

/** What is stored in a room, in the order of seq, as a member reads it. */
async function stored(t, server, room, userId) {
  const reader = await connect(t, server, { claims: { userId, username: userId } });
  const { messages } = await everythingSince(reader, room, 0);
  reader.disconnect();
  gapless(messages);
  assert.equal(new Set(messages.map((m) => m._id)).size, messages.length, `an id is stored twice in ${room}`);
  return messages;
}

/** Holds the books of the speakers against the store. */
function checkPeople(ledger, people, messages) {
  ledger.check(messages.map(({ _id: id, conversationId: room, seq, clientMsgId, read }) => ({ id, room, seq, clientMsgId, read })));
  const [said, answered] = ['said', 'answered'].map((what) => people.reduce((sum, one) => sum + one[what], 0));
  assert.ok(ledger.acked.size > 0 && answered <= said);
  return { said, unanswered: said - answered };
}

/** Each line of the journal is one message of the store, and the other way round no message is there twice. */
async function checkJournal(t, server, path) {
  const acked = new Map();
  for (const line of readFileSync(path, 'utf8').trim().split('\n')) {
    const [room, seq, id, start] = line.split(' ');
    if (!acked.has(room)) acked.set(room, []);
    acked.get(room).push({ seq: Number(seq), id, start });
  }
  let count = 0;
  for (const [room, entries] of acked) {
    const messages = await stored(t, server, room, `u${room.split('-')[1]}`);
    const starts = new Set(messages.map((m) => m.content.split('.', 2).join('.')));
    assert.equal(starts.size, messages.length, `a message is stored twice in ${room}`);
    for (const { seq, id, start } of entries) {
      const message = messages[seq - 1];
      assert.ok(message, `lost: seq ${seq} of ${room}, acknowledged as ${id}`);
      assert.ok(message._id === id && message.content.startsWith(start), `seq ${seq} of ${room} is another one`);
      count += 1;
    }
  }
  assert.equal(acked.size, ROOMS, 'something was acknowledged in each room');
  return count;
}

for (let round = 1; round <= ROUNDS; round++) {
  test(`SIGTERM at ${SHARE * 100} % load loses nothing acknowledged, round ${round} of ${ROUNDS}`, async (t) => {
    // Each time: on a machine that does other things as well it is another number.
    const capacity = await calibrate();
    const rate = Math.round(capacity * SHARE);
    const server = await startServer(ENV);
    const room = unique('people');
    const ledger = new Ledger(`drain-${round}`, PERSIST_TIMEOUT_MS);
    const people = await speakers(t, server, ledger, room);
    const journal = join(temporaryFolder(), 'journal');
    const load = new Load(server, `--rate=${rate}`, '--until-drained', '--seconds=60', `--journal=${journal}`);
    await load.flows();
    people.forEach((one) => one.start());
    const [since, before] = [performance.now(), cpu(server.child.pid)];
    await pause(300 + Math.random() * 1_200);
    const cores = (cpu(server.child.pid) - before) / (performance.now() - since);
    const flowed = (performance.now() - since) / 1_000;
    const { took } = await drain(server, people, DRAIN_TIMEOUT_MS);
    const report = await load.report();
    assert.deepEqual({ ...report.drain, on_their_way: 0 }, { told: CLIENTS, let_go: CLIENTS, disconnected: 0, on_their_way: 0 });
    // The generator sends later what it could not send in time, but not after the end.
    assert.ok(report.sent >= 0.6 * rate * flowed, `${report.sent} in ${flowed} s before the signal, at a rate of ${rate}`);
    assert.equal(report.acked + report.refused + report.drain.on_their_way, report.sent, 'each is answered, or its connection ended');

    const again = await server.restart();
    const kept = await checkJournal(t, again, journal);
    assert.equal(kept, report.acked);
    const { said, unanswered } = checkPeople(ledger, people, await stored(t, again, room, people[0].claims.userId));
    await again.stop();
    t.diagnostic(JSON.stringify({
      capacity, rate, serverCores: Number(cores.toFixed(2)), sent: report.sent, acked: report.acked, refused: report.refused,
      onTheirWay: report.drain.on_their_way, said, unanswered, tookMs: took,
    }));
  });
}

test('SIGTERM while MongoDB stands still: everybody is told and answered, and it ends by the deadline', async (t) => {
  const timeout = 4_000;
  const mongo = await startMongo();
  t.after(() => mongo.stop());
  const server = await startServer({ ...ENV, MONGO_URI: mongo.uri, DRAIN_TIMEOUT_MS: String(timeout) });
  const room = unique('people');
  const ledger = new Ledger('drain-mongo', PERSIST_TIMEOUT_MS);
  const people = await speakers(t, server, ledger, room);
  people.forEach((one) => one.start());
  while (ledger.acked.size < 50) await pause(5);
  mongo.pause();
  await pause(300);
  const { took, seen } = await drain(server, people, timeout);
  mongo.resume();
  assert.ok(seen.ready.includes(503) && seen.handshakes.includes(503), 'it answered, not ready, while the store was waited for');
  assert.ok(ledger.refused.unavailable > 0, JSON.stringify(ledger.refused));

  const again = await server.restart();
  const { said, unanswered } = checkPeople(ledger, people, await stored(t, again, room, people[0].claims.userId));
  await again.stop();
  t.diagnostic(JSON.stringify({ said, acked: ledger.acked.size, refused: ledger.refused, unanswered, tookMs: took }));
});
