// The contract, rule by rule, with the official client over each transport. CORES=2, so that rooms span cores.

import { after, describe } from 'node:test';

import { connecting } from './contract/connecting.mjs';
import { edge } from './contract/edge.mjs';
import { history } from './contract/history.mjs';
import { cors, plainHttp } from './contract/http.mjs';
import { enduring, starting } from './contract/lifecycle.mjs';
import { messages } from './contract/messages.mjs';
import { presence } from './contract/presence.mjs';
import { access, receipts } from './contract/receipts.mjs';
import { rooms } from './contract/rooms.mjs';
import { typing } from './contract/typing.mjs';
import { MODES } from './lib/client.mjs';
import { startServer } from './lib/server.mjs';
import { World } from './lib/world.mjs';

const server = await startServer();
after(() => server.stop());

for (const mode of MODES) {
  // Several at a time: some rules are about seconds, and every test has users and rooms of its own.
  describe(`over ${mode}`, { concurrency: 8 }, () => {
    const world = new World(server, mode);
    for (const group of [typing, presence, connecting, rooms, messages, history, receipts, access]) group(world);
  });
}

describe('over HTTP', () => plainHttp(server));
await cors();
await edge();
describe('starting', () => starting());
describe('enduring', { concurrency: 4 }, () => enduring());
