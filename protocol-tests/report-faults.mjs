// Writes what the tests of faults noted in out/faults.jsonl into the table of docs/reliability.md.

import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';

const NAMES = {
  'mongo-killed': 'SIGKILL to MongoDB in the middle of batches',
  'postgres-killed': 'SIGKILL, or an immediate stop, to PostgreSQL',
  'server-killed': 'SIGKILL to alt-ws',
  sigterm: 'SIGTERM to alt-ws: drained, exit 0',
  'mongo-paused': 'MongoDB stands still (SIGSTOP)',
  'two-servers': 'two servers on the same databases, no fault',
  'embedded-killed': 'SIGKILL to alt-ws on the embedded store',
};
const [begin, end] = ['<!-- the table is written by make faults -->', '<!-- end of the table -->'];
const page = new URL('../docs/reliability.md', import.meta.url);

const rows = readFileSync(new URL('out/faults.jsonl', import.meta.url), 'utf8').trim().split('\n').map(JSON.parse);
const latest = new Map(rows.map((row) => [row.row, row]));
const ms = (number) => (number === undefined ? '' : `${number.toLocaleString('en')} ms`);
const number = (n) => (n ?? 0).toLocaleString('en');
const lines = Object.entries(NAMES).filter(([row]) => latest.has(row)).map(([row, name]) => {
  const r = latest.get(row);
  const refused = Object.entries(r.refused ?? {}).map(([code, count]) => `${count} \`${code}\``).join(', ') || '0';
  return `| ${[
    name, r.rounds, number(r.sent), number(r.acked), refused, number(r.receipts), r.lost, r.phantom, r.duplicate, r.gap,
    r.reordered, r.silent, ms(r.worstAnswerMs), [r.recoveryMs, r.longestRecoveryMs].map(ms).filter(Boolean).join(', '),
  ].join(' | ')} |`;
});
const table = [
  `Measured on ${new Date().toISOString().slice(0, 10)}, on ${cpus().length} cores (${cpus()[0].model.trim()}).`,
  '',
  '| fault | rounds | sent | acknowledged | refused meanwhile | receipts | lost | phantom | doubled | gaps | out of order | unanswered | longest answer | first ack after: median, longest |',
  `|---|${'---:|'.repeat(13)}`,
  ...lines,
].join('\n');
const text = readFileSync(page, 'utf8');
const [before, after] = [text.indexOf(begin), text.indexOf(end)];
if (before < 0 || after < before) throw new Error('docs/reliability.md has lost the marks of its table');
writeFileSync(page, `${text.slice(0, before + begin.length)}\n${table}\n${text.slice(after)}`);
