// The README's table of clients and transports, from the results of a whole run: prints it, or with `--check` compares it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { MODES } from './lib/client.mjs';
import { KINDS } from './lib/kinds.mjs';
import { RESULTS } from './lib/tally.mjs';

const README = new URL('../README.md', import.meta.url);
const [BEGIN, END] = ['<!-- clients: written by protocol-tests/clients.mjs -->', '<!-- /clients -->'];
const MARKS = ['¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
const SEQUENCES = 'The contract\'s main sequences; with `socket.io-client` it is every rule.';

/** Rows that this table is not whole without: which results are theirs, and what there is to say about all of them. */
const ROWS = [
  ...KINDS.map(({ name }) => ({ language: 'JavaScript', isIts: (client) => client === name, notes: [] })),
  { language: 'Python', isIts: (client) => client.startsWith('python-socketio '), notes: [SEQUENCES] },
  { language: 'Rust', isIts: (client) => client.startsWith('rust_socketio '), notes: [SEQUENCES] },
];

const results = readFileSync(RESULTS, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
const footnotes = [];

/** The mark of a footnote, which is written once however often it is referred to. */
function mark(text) {
  if (!footnotes.includes(text)) footnotes.push(text);
  return MARKS[footnotes.indexOf(text)];
}

/** What cannot be tried with a client, by its reason. */
function exceptions(impossible = {}) {
  const reasons = [...new Set(Object.values(impossible))];
  return reasons.map((reason) => {
    const names = Object.keys(impossible).filter((name) => impossible[name] === reason);
    return `Not tried: ${names.map((name) => `“${name}”`).join(', ')} (${reason}).`;
  });
}

function cell(ofClient, mode) {
  const its = ofClient.filter((result) => result.mode === mode);
  assert.equal(its.length, 1, `${ofClient[0].client} over ${mode} was run ${its.length} times`);
  return its[0].failed.length === 0 && its[0].passed > 0 ? '✓' : '✗';
}

/** `socket.io-client 4.8` with its name as code. */
const shown = (client) => client.split(', ').map((part) => part.replace(/^\S+/, '`$&`')).join(' with ');

function row({ language, isIts, notes }) {
  const ofClient = results.filter(({ client }) => isIts(client));
  assert.ok(ofClient.length > 0, `no results for ${language}`);
  const [{ client, needs, impossible }] = ofClient;
  const about = [needs && `${needs}.`, ...exceptions(impossible)].filter(Boolean).join(' ');
  const marks = [...(about ? [about] : []), ...notes].map(mark).join(' ');
  return `| ${language}: ${shown(client)}${marks && ` ${marks}`} | ${MODES.map((mode) => cell(ofClient, mode)).join(' | ')} |`;
}

const lines = ['| client | polling | WebSocket | polling, then WebSocket |', '|---|---|---|---|', ...ROWS.map(row)];
const notes = footnotes.map((text, i) => `${MARKS[i]} ${text}`).join('<br>\n');
const table = `${lines.join('\n')}\n\n${notes}\n`;

if (process.argv.includes('--check')) {
  const readme = readFileSync(README, 'utf8');
  const [from, to] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  assert.ok(from >= 0 && to > from, `the README has no ${BEGIN} … ${END}`);
  const there = readme.slice(from + BEGIN.length, to).trim();
  assert.equal(there, table.trim(), 'the table of clients in the README is not what was just seen: node clients.mjs');
} else {
  process.stdout.write(table);
}
