// Kill -9 in the middle of a burst, start again on the same data, and hold the promises of section 4 against the ledger.

import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync } from 'node:fs';
import { after, test } from 'node:test';

import { connect, MODES } from './lib/client.mjs';
import { accepted, gapless } from './lib/expect.mjs';
import { startServer } from './lib/server.mjs';
import { pause, unique } from './lib/wait.mjs';
import { everythingSince, saying } from './lib/world.mjs';

const ROUNDS = Number(process.env.KILL_ROUNDS ?? 20);
assert.ok(Number.isInteger(ROUNDS) && ROUNDS > 0, `KILL_ROUNDS is ${process.env.KILL_ROUNDS}`);
const SENDERS = ['ada', 'bob', 'cy', 'dee'].map((name) => ({ userId: name, username: name }));
/** Rounds in one room: after so many the check, which reads all of it, would take longer than the burst. */
const ROUNDS_PER_ROOM = 10;
const WINDOW = 8; // unanswered sends per client

let server = await startServer({ DRAIN_TIMEOUT_MS: '5000' });
let room;
const total = { rounds: 0, sent: 0, acked: 0 };
after(async () => {
  await server.stop();
  // A round that finds anything wrong fails, and is not counted.
  const found = { lost: 0, phantom: 0, duplicate: 0, gap: 0, reordered: 0, silent: 0 };
  mkdirSync(new URL('out/', import.meta.url).pathname, { recursive: true });
  const row = { row: 'embedded-killed', ...total, ...found };
  appendFileSync(new URL('out/faults.jsonl', import.meta.url).pathname, `${JSON.stringify(row)}\n`);
});

/** All that clients were told, over all rounds in the present room. */
const ledger = {
  sent: new Map(), // clientMsgId -> {claims, payload}
  acked: new Map(), // clientMsgId -> {messageId, seq}
  delivered: new Map(), // message id -> {seq, clientMsgId, content}
};

async function enter(t, claims, mode) {
  const client = await connect(t, server, { mode, claims });
  client.socket.on('message:new', ({ _id, seq, clientMsgId, content }) => {
    ledger.delivered.set(_id, { seq, clientMsgId, content });
  });
  accepted(await client.emitAck('room:join', { roomId: room }));
  return client;
}

const record = (clientMsgId, answer) => ledger.acked.set(clientMsgId, { messageId: answer.messageId, seq: answer.seq });

/** Sends as fast as answers come until the connection goes. */
function burst(client, claims) {
  const sendOne = () => {
    if (!client.socket.connected) return;
    const clientMsgId = unique(claims.userId);
    const payload = { roomId: room, content: saying(), clientMsgId };
    ledger.sent.set(clientMsgId, { claims, payload });
    client.socket.emit('message:send', payload, (answer) => {
      if (answer.ok) record(clientMsgId, answer);
      sendOne();
    });
  };
  for (let i = 0; i < WINDOW; i++) sendOne();
}

function check(messages) {
  gapless(messages);
  const ids = messages.map((m) => m.clientMsgId);
  assert.equal(new Set(ids).size, ids.length, 'a clientMsgId is stored twice');
  const byClientId = new Map(messages.map((m) => [m.clientMsgId, m]));
  for (const [clientMsgId, { messageId, seq }] of ledger.acked) {
    const stored = byClientId.get(clientMsgId);
    assert.ok(stored, `lost: ${clientMsgId} was acknowledged as seq ${seq}`);
    assert.deepEqual({ messageId: stored._id, seq: stored.seq }, { messageId, seq }, `${clientMsgId} is another now`);
    assert.equal(stored.content, ledger.sent.get(clientMsgId).payload.content);
  }
  const byId = new Map(messages.map((m) => [m._id, m]));
  for (const [id, { seq, clientMsgId, content }] of ledger.delivered) {
    const stored = byId.get(id);
    assert.ok(stored, `phantom: ${clientMsgId}, seq ${seq}, was delivered and is not stored`);
    assert.deepEqual({ seq: stored.seq, content: stored.content }, { seq, content });
  }
}

for (let round = 1; round <= ROUNDS; round++) {
  test(`kill -9 during a burst, round ${round} of ${ROUNDS}`, async (t) => {
    if ((round - 1) % ROUNDS_PER_ROOM === 0) {
      room = `crash-${round}`;
      await server.members(room, ...SENDERS.map((s) => s.userId));
      for (const entries of Object.values(ledger)) entries.clear();
    }
    const clients = [];
    for (const [i, claims] of SENDERS.entries()) clients.push(await enter(t, claims, MODES[(round + i) % MODES.length]));
    const [sentBefore, ackedBefore] = [ledger.sent.size, ledger.acked.size];
    clients.forEach((client, i) => burst(client, SENDERS[i]));
    await clients[0].next('message:ack');
    await pause(Math.random() * 250);
    await server.kill();
    for (const client of clients) client.disconnect();
    assert.ok(ledger.acked.size > ackedBefore, 'something was acknowledged before the kill');

    server = await server.restart();
    const reader = await connect(t, server, { claims: SENDERS[0] });
    const before = await everythingSince(reader, room, 0);
    check(before.messages);

    const again = await Promise.all(SENDERS.map((claims) => enter(t, claims, 'websocket')));
    const open = [...ledger.sent].filter(([id]) => !ledger.acked.has(id));
    await Promise.all(
      open.map(async ([id, { claims, payload }]) => {
        record(id, accepted(await again[SENDERS.indexOf(claims)].emitAck('message:send', payload)));
      }),
    );
    const { messages } = await everythingSince(reader, room, 0);
    check(messages);
    assert.equal(messages.length, ledger.sent.size, 'each message that was ever sent is stored once');
    total.rounds += 1;
    total.sent += ledger.sent.size - sentBefore;
    total.acked += ledger.acked.size - ackedBefore;
    t.diagnostic(`${messages.length} messages, ${open.length} of them sent again after the kill`);
  });
}
