// The contract with every other JavaScript client, each against a server that is set up for it.

import { after } from 'node:test';

import { contract } from './contract/all.mjs';
import { MODES } from './lib/client.mjs';
import { KINDS } from './lib/kinds.mjs';
import { startServer } from './lib/server.mjs';

for (const kind of KINDS.slice(1)) {
  const server = await startServer(kind.serverEnv);
  after(() => server.stop());
  contract(server, kind, MODES);
}
