// S15: the same packets, good, mutated and hostile, to the parsers of the reference and to ours. Where the two differ, the difference is on
// the closed list of its suite, and docs/protocol-differences.md says why.
//
// PACKETS (20,000) is the number of Socket.IO packets; of the two others it is a quarter each. SEED repeats a run.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';

import * as engineio from './differential/engineio.mjs';
import * as msgpack from './differential/msgpack.mjs';
import { Random } from './differential/random.mjs';
import * as socketio from './differential/socketio.mjs';
import { DecoderProcess } from './lib/decoder.mjs';
import { brief } from './lib/wait.mjs';

const PACKETS = Number(process.env.PACKETS ?? 20_000);
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 32);
/** From here on an exception that never occurs is one that is not needed. */
const FULL_RUN = 1_000_000;
const BATCH = 2_000;
/** Disagreements after which a run gives up: they are one mistake, mostly. */
const ENOUGH = 20;

const decoder = new DecoderProcess();
after(() => decoder.stop());

const ENDS = ['done', 'waiting'];

/**
 * The points at which the two part, each `{ours, theirs, text, packet}`: what each makes of a packet (a reason of ours or `taken`; `taken` or
 * `rejected`; `another` when both took it and it is not the same). After a refusal nothing is compared: the connection is closed.
 */
function* differences(mine, theirs, { ours, same }) {
  for (let i = 0; ; i++) {
    const [packet, step] = [mine.packets[i], theirs.steps[i]];
    if (packet && step) {
      if (!same(ours(packet), step.packet)) yield { ours: 'another', theirs: 'taken', ...step };
      continue;
    }
    const end = ENDS.includes(mine.end) ? mine.end : 'rejected';
    if (!packet && !step && end === theirs.end) return;
    const pending = theirs.pending && { ...theirs.pending, first: theirs.pending.data?.[0] };
    // To be waiting for attachments is to have taken the text.
    yield {
      ours: packet || mine.end === 'waiting' ? 'taken' : mine.end,
      theirs: step || theirs.end === 'waiting' ? 'taken' : theirs.end,
      text: step?.text ?? theirs.text,
      packet: step?.packet ?? pending,
    };
    return;
  }
}

const SUITES = [
  ['Socket.IO packets as JSON', 's', socketio, PACKETS],
  ['Socket.IO packets as MessagePack', 'm', msgpack, PACKETS / 4],
  ['Engine.IO payloads', 'e', engineio, PACKETS / 4],
];

test('every difference is explained in docs/protocol-differences.md, and nothing else is', () => {
  const text = readFileSync(new URL('../docs/protocol-differences.md', import.meta.url), 'utf8');
  const sections = text.split(/^## /m).slice(1);
  const named = sections.map((section) => [...section.matchAll(/^\| ([^|]+) \|/gm)].map(([, name]) => name).slice(1));
  const listed = SUITES.map(([, , suite]) => suite.EXCEPTIONS.map(({ name }) => name));
  assert.deepEqual(named.map((names) => names.toSorted()), listed.map((names) => names.toSorted()));
});

describe(`S15: ${PACKETS} packets, SEED=${SEED}`, () => {
  for (const [name, kind, suite, total] of SUITES) {
    test(name, { timeout: 3_600_000 }, async (t) => {
      const random = new Random(SEED);
      const occurred = new Map(suite.EXCEPTIONS.map((exception) => [exception, 0]));
      const unexplained = [];
      let [cases, taken, refused] = [0, 0, 0];
      while (cases < total && unexplained.length < ENOUGH) {
        const batch = Array.from({ length: Math.min(BATCH, total - cases) }, () => suite.makeCase(random));
        const answers = decoder.decode(kind, batch);
        const references = batch.map(suite.reference);
        for (const [i, mine] of (await answers).entries()) {
          taken += mine.packets.length;
          refused += ENDS.includes(mine.end) ? 0 : 1;
          for (const difference of differences(mine, references[i], suite)) {
            const { ours, theirs, text, packet } = difference;
            const exception = suite.EXCEPTIONS.find(
              (each) => each.ours === ours && each.theirs === theirs && each.when(text, packet),
            );
            if (exception) occurred.set(exception, occurred.get(exception) + 1);
            else unexplained.push([batch[i], difference, mine, references[i]]);
          }
        }
        cases += batch.length;
      }
      t.diagnostic(`${cases} cases: ${taken} packets taken, ${refused} cases refused; differences that are on the list:`);
      for (const [exception, times] of occurred) t.diagnostic(`${String(times).padStart(8)}  ${exception.name}`);
      const shown = unexplained.slice(0, ENOUGH).map((parts) => parts.map((part) => brief(part, 500)).join('\n    '));
      assert.equal(unexplained.length, 0, `SEED=${SEED}: differences that nothing explains:\n${shown.join('\n')}`);
      assert.ok(taken > cases / 4 && refused > cases / 20, 'the cases are neither all good nor all bad');
      const idle = [...occurred].filter(([, times]) => times === 0).map(([exception]) => exception.name);
      assert.ok(PACKETS < FULL_RUN || idle.length === 0, `exceptions that no packet needed: ${idle}`);
    });
  }
});
