// The contract on PostgreSQL and MongoDB instead of the embedded store, with the official client over WebSocket.

import { after, describe } from 'node:test';

import { connecting } from './contract/connecting.mjs';
import { history } from './contract/history.mjs';
import { messages } from './contract/messages.mjs';
import { presence } from './contract/presence.mjs';
import { access, receipts } from './contract/receipts.mjs';
import { rooms } from './contract/rooms.mjs';
import { typing } from './contract/typing.mjs';
import { startServer } from './lib/server.mjs';
import { databases } from './lib/services.mjs';
import { World } from './lib/world.mjs';

const services = await databases();
const server = await startServer(services.env);
after(async () => {
  await server.stop();
  await services.stop();
});

describe('on PostgreSQL and MongoDB', { concurrency: 8 }, () => {
  const world = new World(server, 'websocket');
  for (const group of [typing, presence, connecting, rooms, messages, history, receipts, access]) group(world);
});
