// Two well-behaved clients, who chat on whatever somebody else sends.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { connect } from './client.mjs';
import { accepted } from './expect.mjs';
import { showingLog } from './server.mjs';
import { sign } from './tokens.mjs';
import { unique } from './wait.mjs';
import { say } from './world.mjs';

/**
 * Ada and Bob in a room, over both transports and for the whole run. `token` is that of a third member, who is up to no good, and
 * `hostile` a test that ends with the two of them still chatting.
 */
export async function peace(server) {
  const forAll = { after };
  const room = unique('peace');
  const outlaw = { userId: 'mallory', username: 'Mallory' };
  await server.members(room, 'ada', 'bob', outlaw.userId);
  const [ada, bob] = await Promise.all(
    [['ada', 'websocket'], ['bob', 'polling']].map(([userId, mode]) =>
      connect(forAll, server, { mode, claims: { userId, username: userId } }),
    ),
  );
  for (const user of [ada, bob]) accepted(await user.emitAck('room:join', { roomId: room }));

  /** Both still receive what the other says, and the server's process lives. */
  async function stillChatting() {
    for (const [from, to] of [[ada, bob], [bob, ada]]) {
      const content = await say(from, room);
      await to.next('message:new', (m) => m.content === content);
    }
    assert.ok(server.running, 'the server ended');
  }

  const hostile = (name, body) =>
    test(name, showingLog(server, async (t) => {
      await body(t);
      await stillChatting();
    }));
  return { room, ada, bob, token: sign(outlaw), hostile };
}
