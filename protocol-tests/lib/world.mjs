// Users, rooms and parties: what nearly every chat test begins with.

import { test } from 'node:test';

import { client, connect } from './client.mjs';
import { accepted } from './expect.mjs';
import { KINDS } from './kinds.mjs';
import { CONTENT_MARK } from './server.mjs';
import { unique } from './wait.mjs';

/** A message text that no other message has, marked so that it can be told in a log. */
export const saying = (text = 'hello') => `${CONTENT_MARK} ${unique(text)}`;

/** One server seen by one kind of client over one transport. */
export class World {
  /** How the tests of the contract are made known; whoever counts them puts another one here. */
  test = test;

  constructor(server, mode, kind = KINDS[0]) {
    Object.assign(this, { server, mode, kind });
  }

  /** A conversation of its own for the given user ids. */
  async room(...users) {
    const room = unique(`room-${this.mode}`);
    await this.server.members(room, ...users);
    return room;
  }

  /** Claims of a user nobody else is. */
  claims(name) {
    return { userId: unique(`${name.toLowerCase()}-${this.mode}`), username: name };
  }

  /** Connects someone, who then also carries `userId` and `username`. */
  async user(t, claims, options = {}) {
    const made = await connect(t, this.server, { kind: this.kind, mode: this.mode, claims, ...options });
    return Object.assign(made, { userId: claims.userId, username: claims.username });
  }

  /** Not yet connected. */
  client(t, options) {
    return client(t, this.server, { kind: this.kind, mode: this.mode, ...options });
  }

  /** New users, members of one new room, connected and in it. */
  async party(t, ...names) {
    const claims = names.map((name) => this.claims(name));
    const room = await this.room(...claims.map((c) => c.userId));
    const users = [];
    for (const each of claims) {
      const user = await this.user(t, each);
      accepted(await user.emitAck('room:join', { roomId: room }));
      users.push(user);
    }
    return { room, users, claims };
  }
}

/** Sends a text and waits for the ack. */
export async function say(user, room, content = saying(), extra = {}) {
  accepted(await user.emitAck('message:send', { roomId: room, content, ...extra }));
  return content;
}

/**
 * A barrier: a message goes through the room, and each of `watchers` has received it. What was sent before and has not
 * come by then was not sent to them.
 */
export async function settled(sender, room, ...watchers) {
  const content = await say(sender, room, saying('barrier'));
  return Promise.all(watchers.map((w) => w.next('message:new', (m) => m.content === content)));
}

/** Joins until nothing is missing; returns all messages after `since`. */
export async function everythingSince(user, room, since) {
  const messages = [];
  for (;;) {
    user.emit('room:join', { roomId: room, since });
    const joined = await user.next('room:joined');
    messages.push(...joined.missed);
    if (joined.missedComplete) return { messages, joined };
    if (joined.missed.length === 0) throw new Error('missedComplete is false and nothing came: no way on');
    since = joined.missed.at(-1).seq;
  }
}
