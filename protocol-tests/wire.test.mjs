// The rules of Engine.IO (revision 4) and Socket.IO (revision 5), packet by packet, against the echo server of examples/.
// What the official suites of both protocols check is checked here, and what they leave open: limits, races, two cores.

import { after } from 'node:test';

import { handshake } from './wire/handshake.mjs';
import { life } from './wire/life.mjs';
import { messages } from './wire/messages.mjs';
import { socketIo } from './wire/socketio.mjs';
import { upgrade } from './wire/upgrade.mjs';
import { startWire } from './wire/wire.mjs';

const wire = await startWire();
after(async () => {
  await wire.everyCoreAnswers();
  await wire.server.signal('SIGKILL');
});

// One after the other: most rules are about time or order, and a busy machine must not be taken for a broken one.
for (const group of [handshake, messages, life, upgrade, socketIo]) group(wire);
