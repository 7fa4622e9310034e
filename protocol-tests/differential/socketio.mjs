// Socket.IO packets as JSON: cases, what npm socket.io-parser makes of them, and where ours differs on purpose.

import { Decoder, PacketType } from 'socket.io-parser';

import { eventName, jsonValue, mutated, nested } from './values.mjs';

const NAMESPACES = ['', '', '', '', '/,', '/admin,', '/a-b/c,', '/é,', '/admin', '//,', '/,,', '/a b,'];
const ODD_NAMESPACES = ['/a?x=1,', '/?,', '/\u0000,', '/\u0085,', '/\r\n,', `/${'a'.repeat(127)},`, `/${'a'.repeat(128)},`, `/${'é'.repeat(70)},`];
const IDS = ['', '', '', '0', '1', '12', '9007199254740991', '9007199254740993', '18446744073709551615'];
const ODD_IDS = ['01', '00', '18446744073709551616', '9'.repeat(400), ' ', ' 1', '1 ', '1 2', '\n', '\u00a05', '-1', '+1', '1.5', '1e3', '٣'];
const ODD_COUNTS = [' 1-', '1 -', '1e0-', '01-', '0x1-', '+1-', '0-', '-1-', '1.0-', '11-', '99999999999999999999-', '1', '-', '', '١-', '1--'];

function placeholder(random, num) {
  const odd = [
    `{"_placeholder":true,"num":${random.pick(['1', '-1', '0.5', '"0"', 'null', '1e0', '0.0', '-0', '99', '"splice"', '{}'])}}`,
    '{"_placeholder":true}',
    `{"_placeholder":true,"num":${num},"x":1}`,
    `{"_placeholder":true,"num":${num},"num":${num}}`,
    `{"_placeholder":"true","num":${num}}`,
    `{"_placeholder":1,"num":${num}}`,
    `{"\\u005fplaceholder":true,"num":${num}}`,
    `{"num": ${num} , "_placeholder" : true}`,
  ];
  return random.once(15) ? random.pick(odd) : `{"_placeholder":true,"num":${num}}`;
}

function packet(random) {
  const type = random.once(60) ? random.pick(['4', '7', '9', '', ' ', 'a', '\ufeff', '-']) : random.pick([...'0012222223355566']);
  const isBinary = type === '5' || type === '6';
  const count = isBinary ? 1 + random.below(random.once(10) ? 11 : 3) : 0;
  const counted = !isBinary ? '' : random.once(12) ? random.pick(ODD_COUNTS) : `${count}-`;
  const namespace = random.pick(random.once(20) ? ODD_NAMESPACES : NAMESPACES);
  // Only those of events and acks have a use for one.
  const mayHaveId = !'01'.includes(type) || random.once(20);
  const id = !mayHaveId ? '' : random.pick(random.once(20) ? ODD_IDS : IDS);
  const order = Array.from({ length: count }, (_, num) => num);
  if (random.once(8)) order.reverse();
  const left = order.map((num) => placeholder(random, num));
  if (random.once(25)) left.pop();
  if (random.once(25)) left.push(placeholder(random, 0));
  if (random.once(150)) left.push(nested(random, random.pick([29, 30, 31, 32, 33, 60, 130])));
  const values = random.times(3, () => jsonValue(random, left));
  // Whatever found no place inside the others stands at the end.
  const list = [...(['2', '5'].includes(type) ? [eventName(random)] : []), ...values, ...left].join(',');
  let data = `[${list}]`;
  if (type === '0') data = random.pick(['', '{}', '{"token":"a"}', `{"a":${jsonValue(random)}}`]);
  if (type === '1') data = random.once(15) ? '{}' : '';
  if (type === '4') data = random.pick(['{"message":"x"}', '"x"', '']);
  if (random.once(40)) data = random.pick(['', '{}', 'null', '"a"', '1', 'false', 'true', '[]']);
  if (random.once(50)) data = random.pick([`${data} `, ` ${data}`, `${data}\n`, `${data}x`, `${data}${data}`, `${data}\u0000`]);
  const text = `${type}${counted}${namespace}${id}${data}`;
  return { text: random.once(4) ? mutated(random, text) : text, count };
}

/** One connection's messages, strings and Buffers. */
export function makeCase(random) {
  const messages = [];
  for (let packets = random.once(8) ? 2 : 1; packets > 0; packets--) {
    const { text, count } = packet(random);
    messages.push(text);
    const sent = random.once(15) ? random.below(4) : count;
    for (let i = 0; i < sent; i++) messages.push(random.bytes(4));
  }
  if (random.once(60)) messages.reverse();
  return messages;
}

/**
 * What the reference makes of a case: the steps `{packet, text}` that it came to, and its end: `done`, `waiting` or `rejected`. The text is
 * that of the packet it was at.
 */
export function reference(messages) {
  const decoder = new Decoder();
  const steps = [];
  let text = '';
  decoder.on('decoded', (packet) => steps.push({ packet: canonical(packet), text }));
  for (const message of messages) {
    if (typeof message === 'string' && !decoder.reconstructor) text = message;
    try {
      decoder.add(message);
    } catch {
      return { steps, end: 'rejected', text };
    }
  }
  const end = decoder.reconstructor ? 'waiting' : 'done';
  return { steps, end, text, pending: decoder.reconstructor?.reconPack };
}

/** Binaries as `{$: hex}`, which no JSON of these cases has. */
function canonical({ type, nsp, id, data }) {
  const hex = function (key, value) {
    const raw = this[key];
    return Buffer.isBuffer(raw) ? { $: raw.toString('hex') } : value;
  };
  const named = Array.isArray(data) ? data[0] : undefined;
  return { type, nsp, id, data: JSON.stringify(data, hex), first: named };
}

/** The same form of a packet of ours. */
export function ours({ type, nsp, id, data, attachments }) {
  const fill = (key, value) =>
    attachments.length > 0 && value?._placeholder === true ? { $: attachments[value.num] } : value;
  return {
    type,
    nsp,
    id: id === null ? undefined : Number(id),
    data: data === '' ? undefined : JSON.stringify(JSON.parse(data), fill),
  };
}

export const same = (a, b) =>
  a.type === b.type && a.nsp === b.nsp && Object.is(a.id, b.id) && a.data === b.data;

// --- where ours differs ---------------------------------------------------------------------------------------------

/** The parts of a packet's text as the reference cuts it. */
function parts(text) {
  const [, type, counted, namespace, id, payload] = /^([^]?)((?<=[56])[^-]*-)?(\/[^,]*,?)?([\s\d]*)([^]*)$/.exec(text);
  return { type, counted: counted?.slice(0, -1), namespace, id, payload };
}

function parsed(text) {
  try {
    return JSON.parse(parts(text).payload);
  } catch {
    return undefined;
  }
}

// Nesting and placeholders are sought in the text, not in what JSON.parse makes of it: of two equal keys it drops the first, with all
// that is in it.

function depth(text) {
  let [depth, deepest] = [0, 0];
  for (const [bracket] of text.replace(/"(?:[^"\\]|\\.)*"/g, '').matchAll(/[[\]{}]/g)) {
    depth += bracket === '[' || bracket === '{' ? 1 : -1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

/** Each attachment is named by one placeholder, in the form in which encoders write it. */
function namesEachOnce(text) {
  const { counted, payload } = parts(text);
  const form = /\{\s*(?:"_placeholder"\s*:\s*true\s*,\s*"num"\s*:\s*(\d+)|"num"\s*:\s*(\d+)\s*,\s*"_placeholder"\s*:\s*true)\s*\}/g;
  const nums = [...payload.matchAll(form)].map(([, a, b]) => Number(a ?? b)).sort((a, b) => a - b);
  const all = [...payload.matchAll(/"(?:_|\\u005f)placeholder"\s*:\s*true/g)];
  return nums.length === Number(counted) && nums.every((num, i) => num === i) && all.length === nums.length;
}

const RESERVED = ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'];
const isEvent = (type) => type === PacketType.EVENT || type === PacketType.BINARY_EVENT;

/**
 * The closed list. `ours` and `theirs` are what each makes of the packet at which they part: a reason of ours or `taken`; `taken` or
 * `rejected`. `when` gets the packet's text and, if the reference took it, `{type, nsp, id, first}`.
 */
export const EXCEPTIONS = [
  { name: 'type that is no digit', ours: 'unknown_type', theirs: 'taken', when: (text) => !/^\d/.test(text) },
  { name: 'CONNECT_ERROR from a client', ours: 'server_only', theirs: 'taken', when: (text) => text.startsWith('4') },
  { name: 'number of attachments in another form than plain digits', ours: 'attachment_count', theirs: 'taken', when: (text) => !/^[1-9]\d*$/.test(parts(text).counted) },
  { name: 'namespace with a query, control characters, or too long', ours: 'namespace', theirs: 'taken', when: (_, p) => /[?\p{Cc}]/u.test(p.nsp) || Buffer.byteLength(p.nsp) > 128 },
  { name: 'id on CONNECT or DISCONNECT', ours: 'ack_id', theirs: 'taken', when: (_, p) => p.id !== undefined && p.type <= PacketType.DISCONNECT },
  { name: 'id with leading zeros', ours: 'ack_id', theirs: 'taken', when: (text) => /^0\d/.test(parts(text).id) },
  { name: 'id beyond 64 bits', ours: 'ack_id', theirs: 'taken', when: (text) => /^[1-9]/.test(parts(text).id) && BigInt(/^\d+/.exec(parts(text).id)[0]) >= 2n ** 64n },
  { name: 'white space in the place of an id', ours: 'payload', theirs: 'taken', when: (text) => /\s/.test(parts(text).id) },
  { name: 'event, or ack with an id, without a payload', ours: 'payload', theirs: 'taken', when: (text, p) => parts(text).payload === '' && (isEvent(p.type) || p.id !== undefined) },
  { name: 'event named by a number', ours: 'payload', theirs: 'taken', when: (_, p) => isEvent(p.type) && typeof p.first === 'number' },
  { name: 'event name that is too long, or no Unicode', ours: 'event_name', theirs: 'taken', when: (_, p) => Buffer.byteLength(p.first) > 128 || !p.first.isWellFormed() },
  { name: 'white space after the payload', ours: 'json', theirs: 'taken', when: (text) => /[ \t\r\n]$/.test(text) },
  { name: 'nesting deeper than 32', ours: 'too_deep', theirs: 'taken', when: (text) => depth(parts(text).payload) > 32 },
  { name: 'placeholders that are not one for each attachment, in plain form', ours: 'placeholder', theirs: 'taken', when: (text) => !namesEachOnce(text) },
  { name: 'event name that the reference reserves', ours: 'taken', theirs: 'rejected', when: (text) => RESERVED.includes(parsed(text)?.[0]) },
];
