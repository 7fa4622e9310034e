// The contract on PostgreSQL and MongoDB instead of the embedded store, with the official client over WebSocket.

import { after, describe } from 'node:test';

import { GROUPS } from './contract/all.mjs';
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
  for (const group of GROUPS) group(world);
});
