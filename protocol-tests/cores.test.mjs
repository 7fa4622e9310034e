// Sockets of one room on several cores: each message reaches each socket once, in the order of its seq.

import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { after, describe, test } from 'node:test';

import { connect, MODES } from './lib/client.mjs';
import { accepted, gapless } from './lib/expect.mjs';
import { http } from './lib/http.mjs';
import { Polling } from './lib/raw.mjs';
import { showingLog, startServer } from './lib/server.mjs';
import { sign } from './lib/tokens.mjs';
import { say, saying, World } from './lib/world.mjs';

const SOCKETS = 40;
const MESSAGES = 60;

for (const cores of ['1', '2', '4']) {
  const server = await startServer({ CORES: cores });
  const world = new World(server, 'websocket');

  describe(`with CORES=${cores}`, () => {
    after(() => server.stop());

    test(`${SOCKETS} sockets over mixed transports receive ${MESSAGES} messages once and in order`, showingLog(server, async (t) => {
      const claims = Array.from({ length: SOCKETS }, (_, i) => world.claims(`User${i}`));
      const room = await world.room(...claims.map((c) => c.userId));
      // keepAlive off: every poll and post is a new TCP connection, which the kernel gives to any core.
      const agent = new Agent({ keepAlive: false });
      const clients = await Promise.all(
        claims.map((who, i) => connect(t, server, { mode: MODES[i % MODES.length], claims: who, agent })),
      );
      await Promise.all(clients.map(async (c) => accepted(await c.emitAck('room:join', { roomId: room }))));
      const contents = Array.from({ length: MESSAGES }, () => saying());
      await Promise.all(contents.map((content, i) => say(clients[(i * 7) % SOCKETS], room, content)));
      const [first, ...others] = await Promise.all(clients.map((c) => c.collect('message:new', MESSAGES, 20_000)));
      gapless(first);
      assert.deepEqual(first.map((m) => m.content).sort(), [...contents].sort());
      for (const received of others) assert.deepEqual(received, first);
      // One more round: what would come twice has come by then.
      await say(clients[0], room);
      for (const c of clients) assert.equal((await c.collect('message:new', MESSAGES + 1)).length, MESSAGES + 1, c.label);
    }));

    test('a session answers requests that arrive on any core', showingLog(server, async (t) => {
      const who = world.claims('Ada');
      const room = await world.room(who.userId);
      const sender = await connect(t, server, { claims: who });
      const session = await Polling.open(server, sign(who));
      await session.post(`42["room:join",${JSON.stringify({ roomId: room })}]`);
      await session.receive((packet) => packet.startsWith('42["room:joined"'));
      for (let i = 0; i < 30; i++) {
        const content = await say(sender, room);
        await session.receive((packet) => packet.includes(content));
        assert.equal((await session.post(`42["typing:stop",${JSON.stringify({ roomId: room })}]`)).status, 200);
      }
    }));

    test('upgrades succeed wherever they arrive', showingLog(server, async (t) => {
      const upgraded = await Promise.all(
        Array.from({ length: 24 }, (_, i) => connect(t, server, { mode: 'upgrade', claims: world.claims(`Up${i}`) })),
      );
      assert.deepEqual([...new Set(upgraded.map((c) => c.transport))], ['websocket']);
      for (const c of upgraded) accepted(await c.emitAck('presence:update', { status: 'away' }));
      assert.equal((await http(server, '/livez')).status, 200);
    }));
  });
}
