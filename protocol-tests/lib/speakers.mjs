// People who say something every few milliseconds, whatever comes back: real clients under a server that is going away.

import assert from 'node:assert/strict';

import { connect, MODES } from './client.mjs';
import { accepted } from './expect.mjs';
import { unique } from './wait.mjs';
import { saying } from './world.mjs';

/** Between two messages of one speaker, in ms. */
const EVERY = 20;

/** Two speakers over each transport, all in one room. */
export async function speakers(t, server, ledger, roomId) {
  const made = [];
  for (const mode of [...MODES, ...MODES]) {
    const claims = { userId: unique(mode), username: mode };
    await server.members(roomId, claims.userId);
    made.push(new Speaker(await connect(t, server, { mode, claims }), claims, ledger, roomId));
  }
  for (const { client } of made) accepted(await client.emitAck('room:join', { roomId }));
  return made;
}

class Speaker {
  answered = 0;
  said = 0;
  #timer;

  constructor(client, claims, ledger, roomId) {
    Object.assign(this, { client, claims, ledger, roomId });
    client.socket.on('message:new', ({ _id: id, seq, clientMsgId, conversationId: room }) => {
      ledger.shown.push({ socket: claims.userId, id, seq, clientMsgId, room });
    });
    this.gone = new Promise((done) => client.socket.on('disconnect', done)).finally(() => this.stop());
  }

  start() {
    this.#timer = setInterval(() => this.#say(), EVERY);
  }

  stop() {
    clearInterval(this.#timer);
  }

  #say() {
    if (!this.client.socket.connected) return;
    const clientMsgId = unique(this.claims.userId);
    const message = { roomId: this.roomId, content: saying(), clientMsgId };
    const since = performance.now();
    this.ledger.sent.set(clientMsgId, message);
    this.said += 1;
    this.client.emit('message:send', message, (answer) => {
      this.answered += 1;
      this.ledger.answered(clientMsgId, answer, since);
    });
  }

  /** It was told once that the server goes away, and disconnected after that. Returns when it was asked to come back. */
  farewell() {
    const names = this.client.events.map((e) => e.event);
    const told = this.client.all('server:draining');
    assert.equal(told.length, 1, `told ${told.length} times: ${this.client.story()}`);
    assert.ok(names.indexOf('server:draining') < names.indexOf('disconnect'), this.client.story());
    return told[0].reconnectIn;
  }
}
