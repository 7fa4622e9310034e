// The whole contract, with one kind of client over one transport.

import { after, describe } from 'node:test';

import { Tally } from '../lib/tally.mjs';
import { World } from '../lib/world.mjs';
import { connecting } from './connecting.mjs';
import { history } from './history.mjs';
import { messages } from './messages.mjs';
import { presence } from './presence.mjs';
import { access, receipts } from './receipts.mjs';
import { rooms } from './rooms.mjs';
import { typing } from './typing.mjs';

/** All that a client can find out about the chat. */
export const GROUPS = [typing, presence, connecting, rooms, messages, history, receipts, access];

/** How a kind of client can be connected, all at the same time: most of the minutes are spent waiting for timers. */
export function contract(server, kind, modes) {
  describe(kind.name, { concurrency: modes.length }, () => {
    for (const mode of modes) {
      // Several at a time: some rules are about seconds, and every test has users and rooms of its own.
      describe(`over ${mode}`, { concurrency: 8 }, () => {
        const tally = new Tally(kind, mode);
        after(() => tally.write());
        const world = Object.assign(new World(server, mode, kind), { test: tally.test });
        for (const group of GROUPS) group(world);
      });
    }
  });
}
