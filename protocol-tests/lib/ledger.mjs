// What clients sent, were told and were shown, beside what is stored in the end. Every line is also written to a file.

import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync } from 'node:fs';

import { io } from 'socket.io-client';

import { sign } from './tokens.mjs';
import { pause, unique } from './wait.mjs';
import { saying } from './world.mjs';

const folder = new URL('../out/', import.meta.url).pathname;
/** Answers may be late by this much on a busy machine, beyond PERSIST_TIMEOUT_MS. */
const GRACE = 1_500;
/** What a sender waits after a refusal, whatever it is advised: these tests are about pressure. */
const RETRY = 100;
/** What people take between an answer and their next words: a long run is about faults, not about large collections. */
const THINKING = 200;
/** Every so many messages of others, one is marked as read. */
const READS_EVERY = 10;

/** As Map.groupBy, which Node 20 has not. */
function groupBy(items, field) {
  const groups = new Map();
  for (const item of items) {
    const group = groups.get(item[field]);
    if (group) group.push(item);
    else groups.set(item[field], [item]);
  }
  return groups;
}

export class Ledger {
  sent = new Map(); // clientMsgId -> {room, content}
  acked = new Map(); // clientMsgId -> {messageId, seq}
  refused = {}; // code -> count
  shown = []; // {socket, seq, id, clientMsgId, room}
  worst = 0; // ms, of an answer
  silent = 0; // sends and receipts without an answer in time, on a connection that lived
  read = new Set(); // ids of messages whose reading was acknowledged
  complaints = [];

  constructor(name, persistTimeout) {
    mkdirSync(folder, { recursive: true });
    this.path = `${folder}ledger-${name}-${process.pid}.jsonl`;
    this.limit = persistTimeout + GRACE;
  }

  note(what, fields) {
    appendFileSync(this.path, `${JSON.stringify({ at: performance.now(), what, ...fields })}\n`);
  }

  #timed(since) {
    const took = performance.now() - since;
    this.worst = Math.max(this.worst, took);
    if (took > this.limit) this.silent += 1;
    return took;
  }

  receiptAnswered(messageId, answer, since) {
    this.#timed(since);
    if (answer.ok) this.read.add(messageId);
    this.note('receipt', { messageId, since, ok: answer.ok, code: answer.error?.code });
  }

  answered(clientMsgId, answer, since) {
    const took = this.#timed(since);
    if (answer.ok) {
      const { messageId, seq } = answer;
      const before = this.acked.get(clientMsgId);
      if (before && (before.messageId !== messageId || before.seq !== seq)) this.complaints.push(`${clientMsgId} is two`);
      this.acked.set(clientMsgId, { messageId, seq });
    } else {
      this.refused[answer.error.code] = (this.refused[answer.error.code] ?? 0) + 1;
    }
    this.note('answer', { clientMsgId, took, ok: answer.ok, seq: answer.seq, code: answer.error?.code });
  }

  /** Holds what clients know against what is stored: `stored` is a list of {id, room, seq, clientMsgId, read}. */
  check(stored) {
    const counts = { lost: 0, phantom: 0, duplicate: 0, gap: 0, reordered: 0, silent: this.silent, unknown: 0 };
    const byClientId = groupBy(stored, 'clientMsgId');
    for (const [clientMsgId, { messageId, seq }] of this.acked) {
      const [message] = byClientId.get(clientMsgId) ?? [];
      if (message?.id === messageId && message?.seq === seq) continue;
      counts.lost += 1;
      this.complaints.push(`${clientMsgId} was acknowledged as ${messageId}, seq ${seq}, and is ${JSON.stringify(message)}`);
    }
    for (const copies of byClientId.values()) counts.duplicate += copies.length - 1;
    const byId = new Map(stored.map((m) => [m.id, m]));
    for (const id of this.read) {
      if (byId.get(id)?.read === true) continue;
      counts.lost += 1;
      this.complaints.push(`the receipt for ${id}, seq ${byId.get(id)?.seq}, is not on its message`);
    }
    const seen = new Set();
    const latest = new Map();
    for (const { socket, id, seq, room } of this.shown) {
      if (byId.get(id)?.seq !== seq) counts.phantom += 1;
      if (seen.has(`${socket} ${id}`)) counts.duplicate += 1;
      seen.add(`${socket} ${id}`);
      const place = `${socket} ${room}`;
      if (seq <= (latest.get(place) ?? 0)) counts.reordered += 1;
      latest.set(place, seq);
    }
    for (const messages of groupBy(stored, 'room').values()) {
      const seqs = messages.map((m) => m.seq).sort((a, b) => a - b);
      counts.gap += seqs.filter((seq, i) => seq !== i + 1).length;
    }
    for (const clientMsgId of byClientId.keys()) if (!this.sent.has(clientMsgId)) counts.unknown += 1;
    const clean = Object.fromEntries(Object.keys(counts).map((name) => [name, 0]));
    assert.deepEqual([counts, this.complaints], [clean, []], `the ledger is ${this.path}`);
    return counts;
  }
}

/** Somebody who says things as fast as they are taken, again after a refusal or a disconnection, until told to stop. */
export class Talker {
  #open = new Set(); // clientMsgIds without an ack
  #onTheirWay = 0;
  #receipts = 0; // without an answer
  #stopped = false;
  #drained = () => {};

  constructor(ledger, url, claims, rooms, window = 8) {
    Object.assign(this, { ledger, claims, rooms, window });
    this.sessions = 0;
    this.heard = 0;
    this.socket = io(url, {
      transports: ['websocket'], forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 300,
      auth: { token: sign(claims) },
    });
    this.socket.on('message:new', (m) => {
      const { _id: id, seq, clientMsgId, conversationId: room } = m;
      ledger.shown.push({ socket: `${claims.userId} ${this.sessions}`, id, seq, clientMsgId, room });
      if (m.userId !== claims.userId && ++this.heard % READS_EVERY === 0 && !this.#stopped) this.#read(room, id);
    });
    this.ready = new Promise((done) => (this.becomeReady = done));
    this.socket.on('connect', () => this.#enter());
    this.socket.on('disconnect', () => {
      this.#onTheirWay = this.#receipts = 0;
      this.#mayBeDrained();
    });
  }

  async #enter() {
    const session = ++this.sessions;
    for (const roomId of this.rooms) {
      while (this.sessions === session && this.socket.connected && !(await this.ask('room:join', { roomId }))?.ok) {
        await pause(RETRY);
      }
    }
    if (this.sessions !== session) return;
    this.becomeReady();
    for (const clientMsgId of this.#open) this.#send(clientMsgId, session);
    this.#fill(session);
  }

  /** The answer, or nothing when the connection goes first. */
  ask(event, payload) {
    return new Promise((done) => {
      this.socket.once('disconnect', done);
      this.socket.emit(event, payload, (answer) => {
        this.socket.off('disconnect', done);
        done(answer);
      });
    });
  }

  #fill(session) {
    while (!this.#stopped && this.socket.connected && this.#onTheirWay < this.window) {
      const clientMsgId = unique(this.claims.userId);
      const roomId = this.rooms[this.ledger.sent.size % this.rooms.length];
      this.ledger.sent.set(clientMsgId, { roomId, content: saying() });
      this.#open.add(clientMsgId);
      this.#send(clientMsgId, session);
    }
  }

  #read(roomId, messageId) {
    const [since, session] = [performance.now(), this.sessions];
    this.#receipts += 1;
    this.socket.emit('message:read', { roomId, messageId }, (answer) => {
      this.ledger.receiptAnswered(messageId, answer, since);
      if (session !== this.sessions) return;
      this.#receipts -= 1;
      this.#mayBeDrained();
    });
  }

  #send(clientMsgId, session) {
    if (session !== this.sessions || !this.socket.connected) return;
    const since = performance.now();
    this.#onTheirWay += 1;
    this.ledger.note('send', { clientMsgId, session });
    this.socket.emit('message:send', { ...this.ledger.sent.get(clientMsgId), clientMsgId }, async (answer) => {
      this.ledger.answered(clientMsgId, answer, since);
      if (session !== this.sessions) return;
      if (!answer.ok) {
        await pause(RETRY);
        if (session !== this.sessions) return;
        this.#onTheirWay -= 1;
        return this.#send(clientMsgId, session);
      }
      this.#open.delete(clientMsgId);
      this.#mayBeDrained();
      await pause(Math.random() * THINKING);
      if (session !== this.sessions) return;
      this.#onTheirWay -= 1;
      this.#fill(session);
    });
  }

  #mayBeDrained() {
    if (this.#stopped && this.#open.size === 0 && this.#receipts === 0) this.#drained();
  }

  /** Says nothing new, and waits until everything that was ever said is acknowledged, and every receipt answered. */
  finish() {
    const drained = new Promise((done) => (this.#drained = done));
    this.#stopped = true;
    this.#mayBeDrained();
    return drained;
  }

  close() {
    this.#stopped = true;
    this.socket.disconnect();
  }
}
