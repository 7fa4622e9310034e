// The contract, rule by rule, with the official client over each transport. CORES=2, so that rooms span cores.

import { after, describe } from 'node:test';

import { contract } from './contract/all.mjs';
import { edge } from './contract/edge.mjs';
import { cors, plainHttp } from './contract/http.mjs';
import { enduring, starting } from './contract/lifecycle.mjs';
import { MODES } from './lib/client.mjs';
import { KINDS } from './lib/kinds.mjs';
import { startServer } from './lib/server.mjs';

const server = await startServer();
after(() => server.stop());

contract(server, KINDS[0], MODES);

describe('over HTTP', () => plainHttp(server));
await cors();
await edge();
describe('starting', () => starting());
describe('enduring', { concurrency: 4 }, () => enduring());
