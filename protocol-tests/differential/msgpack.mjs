// Socket.IO packets as MessagePack: cases, what npm socket.io-msgpack-parser makes of them, and where ours differs on purpose.

import notepack from 'notepack.io';
import parser from 'socket.io-msgpack-parser';

export { ours, same } from './socketio.mjs';

const u = (bytes, number) => {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(number, 0, bytes);
  return buffer;
};
const text = (string) => notepack.encode(string);
const map = (pairs) => Buffer.concat([Buffer.from([0xde]), u(2, pairs.length), ...pairs.flat()]);
const list = (values) => Buffer.concat([Buffer.from([0xdc]), u(2, values.length), ...values]);

const WORDS = ['a', '', 'hello', 'ä', '👩‍🚀', '\u0000"\\', 'num', '_placeholder', '0', '10', 'x'.repeat(40)];
/** Formats that notepack.io reads and does not write, or not for these values. */
const ODD = [
  'd002', 'd10007', 'd3ffffffffffffffff', 'cfffffffffffffffff', 'ca3dcccccd', 'ca7fc00000', 'cb8000000000000000', 'cb4045000000000000',
  'd9026162', 'db0000000161', 'a1ff', 'a2c328', 'a3eda080', 'c1', 'd401aa', 'd4ff00', 'd5000000', 'd6ff00000000', 'd70100000000000000aa',
  'd8000000000000000000000000000000000000', 'c70105ff', 'c7010041', 'c80001007a', 'c900000001007a', 'd7007fffffffffffffff',
  'd7008000000000000000', 'd7000000019c21ac0205', 'd700ffffffffffffffff', 'd40000', 'd40055', '82a16101a16102', '810101', '81c001', '81c4016101',
  '81a95f5f70726f746f5f5f81a16101', 'dcffff', 'de0100', 'dd00000010', '82ac5f706c616365686f6c646572c3a36e756d00', 'c6000000017a', 'c5000161',
].map((hex) => Buffer.from(hex, 'hex'));

function value(random, depth = 0) {
  if (random.once(25)) return random.pick(ODD);
  switch (random.below(depth > 3 ? 7 : 9)) {
    case 0:
      return notepack.encode(random.pick([0, 1, -1, 127, 128, -33, 65_536, 2 ** 32, 2 ** 53 - 1, -(2 ** 31) - 1]));
    case 1:
      return notepack.encode(random.pick([0.1, -2.5, 1e-7, 5e-324, 1e300, NaN, Infinity, -0]));
    case 2:
      return notepack.encode(random.pick([null, true, false, undefined]));
    case 3:
      return notepack.encode(new Date(random.pick([0, -1, 1_770_091_446_789, 8.64e15, -62_167_219_200_001, random.next() * 1_000])));
    case 4:
      return random.once(3) ? notepack.encode(random.bytes(5)) : notepack.encode(null);
    case 7:
      return list(random.times(4, () => value(random, depth + 1)));
    case 8: {
      const keys = [...new Set(random.times(4, () => random.pick(WORDS)))];
      return map(keys.map((key) => [text(key), value(random, depth + 1)]));
    }
    default:
      return text(random.pick(WORDS));
  }
}

const nested = (random, levels) =>
  Buffer.concat([...Array.from({ length: levels }, () => Buffer.from(random.once(2) ? '91' : '81a161', 'hex')), Buffer.from([7])]);

function packet(random) {
  const type = random.once(40) ? random.pick([4, 5, 7, -1, 2.5, '2', null, undefined]) : random.pick([0, 1, 2, 2, 2, 2, 3, 3]);
  const binaries = random.once(60) ? Array.from({ length: 9 + random.below(4) }, () => notepack.encode(random.bytes(2))) : [];
  const values = [...random.times(4, () => value(random)), ...binaries];
  if (random.once(100)) values.push(nested(random, random.pick([29, 30, 31, 32, 33, 200])));
  if (random.once(60)) values.push(notepack.encode({ _placeholder: true, num: 0 }));
  const name = random.once(15)
    ? random.pick([notepack.encode(7), notepack.encode(null), value(random), text('é'.repeat(64)), text('é'.repeat(65))])
    : text(random.pick(WORDS));
  let data = list(type === 2 && !random.once(60) ? [name, ...values] : values);
  if (type === 0) data = random.pick([notepack.encode(undefined), notepack.encode({ token: 'a' }), map([[text('a'), value(random)]])]);
  if (type === 4) data = notepack.encode({ message: 'x' });
  if (random.once(40)) data = value(random);
  const namespace = random.once(20)
    ? random.pick(['', 'a', '/a?b', '/\u0000', '/\u0085', `/${'a'.repeat(127)}`, `/${'a'.repeat(128)}`, 7, null])
    : random.pick(['/', '/', '/admin', '/é']);
  const members = [
    [text('type'), random.once(20) && Number.isInteger(type) && type >= 0 ? Buffer.from([random.pick([0xcc, 0xd0]), type]) : notepack.encode(type)],
    [text('nsp'), notepack.encode(namespace)],
  ];
  if (type !== 1 || random.once(20)) members.push([text('data'), data]);
  if (random.once(type === 2 || type === 3 ? 2 : 20)) {
    const id = random.once(15) ? random.pick([-1, 1.5, null, undefined, '1', true]) : random.pick([0, 7, 300, 2 ** 32, 2 ** 53 - 1]);
    members.push([text('id'), random.once(40) ? Buffer.from(random.pick(['cb3ff0000000000000', 'cfffffffffffffffff', 'd3000000000000000a']), 'hex') : notepack.encode(id)]);
  }
  if (random.once(4)) members.push([text('options'), random.once(20) ? value(random) : notepack.encode({ compress: true })]);
  if (random.once(60)) members.push(random.pick(members));
  if (random.once(60)) members.splice(random.below(members.length), 1);
  if (random.once(2)) members.reverse();
  return map(members);
}

/** Some bytes more, less, or other ones. */
function mutated(random, bytes) {
  const result = Buffer.from(bytes);
  const at = random.below(result.length);
  switch (random.below(5)) {
    case 0:
      return result.subarray(0, at);
    case 1:
      return Buffer.concat([result, random.bytes(2)]);
    case 2:
      return Buffer.concat([result.subarray(0, at), random.bytes(2), result.subarray(at)]);
    case 3:
      return Buffer.concat([result.subarray(0, at), result.subarray(at + 1 + random.below(3))]);
    default:
      result[at] = random.below(256);
      return result;
  }
}

/**
 * notepack.io makes room for an array or a typed array of any length that is declared, before it looks for its bytes. Ours
 * does not, and is tested on that elsewhere; here it would only take the memory of the test.
 */
function harmless(bytes) {
  for (let at = 0; at + 5 <= bytes.length; at++) {
    if ((bytes[at] === 0xc9 || bytes[at] === 0xdd) && bytes.readUInt32BE(at + 1) > 100_000) bytes[at] = 0xc1;
  }
  return bytes;
}

/** One connection's messages. */
export function makeCase(random) {
  return Array.from({ length: random.once(10) ? 2 : 1 }, () => {
    const bytes = packet(random);
    return random.once(4) ? harmless(mutated(random, bytes)) : bytes;
  });
}

const isBinary = (value) => Buffer.isBuffer(value) || value instanceof ArrayBuffer;

/** As for JSON. */
export function reference(messages) {
  const steps = [];
  for (const message of messages) {
    const decoder = new parser.Decoder();
    decoder.on('decoded', (packet) => steps.push({ packet: canonical(packet), text: message }));
    try {
      decoder.add(message);
    } catch {
      return { steps, end: 'rejected', text: message };
    }
  }
  return { steps, end: 'done' };
}

function canonical({ type, nsp, id, data, ...rest }) {
  const hex = function (key, value) {
    const raw = this[key];
    return isBinary(raw) ? { $: Buffer.from(raw).toString('hex') } : value;
  };
  return { type, nsp, id, data: JSON.stringify(data, hex), first: data?.[0], value: data, rest };
}

// --- where ours differs ---------------------------------------------------------------------------------------------

/** What a message holds that ours does not take: found by reading it once more, in no other way than the format says. */
function features(bytes) {
  const found = new Set();
  let [at, binaries] = [0, 0];
  const number = (width) => {
    at += width;
    return bytes.readUIntBE(at - width, width);
  };
  const skip = (length) => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  const string = (length) => {
    const raw = skip(length);
    const decoded = raw.toString('utf8');
    if (Buffer.compare(Buffer.from(decoded), raw) !== 0) found.add('no UTF-8');
    return decoded;
  };
  const binary = () => {
    binaries += 1;
    if (binaries > 10) found.add('11 binaries');
  };
  const extension = (length, meaning) => {
    const type = number(1);
    if (type !== 0 || !meaning) found.add('extension');
    skip(length);
  };
  const items = (count, depth) => {
    if (depth > 32) found.add('deep');
    for (let i = 0; i < count; i++) read(depth + 1);
  };
  const members = (count, depth) => {
    if (depth > 32) found.add('deep');
    const keys = new Set();
    for (let i = 0; i < count; i++) {
      const key = read(depth + 1);
      if (typeof key !== 'string') found.add('key that is no text');
      if (keys.has(key)) found.add('key twice');
      if (key === '__proto__') found.add('__proto__');
      keys.add(key);
      read(depth + 1);
    }
  };
  function read(depth) {
    const prefix = number(1);
    if (prefix < 0x80 || prefix >= 0xe0) return prefix;
    if (prefix < 0x90) return members(prefix & 15, depth);
    if (prefix < 0xa0) return items(prefix & 15, depth);
    if (prefix < 0xc0) return string(prefix & 31);
    const widths = [1, 2, 4];
    if (prefix >= 0xc4 && prefix <= 0xc6) return void (binary(), skip(number(widths[prefix - 0xc4])));
    if (prefix >= 0xc7 && prefix <= 0xc9) {
      binary();
      return extension(number(widths[prefix - 0xc7]), true);
    }
    if (prefix >= 0xca && prefix <= 0xd3) return skip([4, 8, 1, 2, 4, 8, 1, 2, 4, 8][prefix - 0xca]);
    if (prefix >= 0xd4 && prefix <= 0xd8) return extension(2 ** (prefix - 0xd4), prefix === 0xd4 || prefix === 0xd7);
    if (prefix >= 0xd9 && prefix <= 0xdb) return string(number(widths[prefix - 0xd9]));
    if (prefix === 0xdc || prefix === 0xdd) return items(number(2 * (prefix - 0xdb)), depth);
    if (prefix === 0xde || prefix === 0xdf) return members(number(2 * (prefix - 0xdd)), depth);
    return null;
  }
  read(0);
  return found;
}

const walk = (value, visit) => {
  visit(value);
  if (value !== null && typeof value === 'object' && !isBinary(value)) for (const each of Object.values(value)) walk(each, visit);
};

function count(value, predicate) {
  let sum = 0;
  walk(value, (each) => (sum += predicate(each) ? 1 : 0));
  return sum;
}

const binaries = (value) => count(value, isBinary);
const has = (feature) => (bytes) => features(bytes).has(feature);

/** As for JSON. */
export const EXCEPTIONS = [
  { name: 'text that is not UTF-8', ours: 'msgpack', theirs: 'taken', when: has('no UTF-8') },
  { name: 'extension of another type or length than the dialect\'s', ours: 'msgpack', theirs: 'taken', when: has('extension') },
  { name: 'key that is no text', ours: 'msgpack', theirs: 'taken', when: has('key that is no text') },
  { name: 'key twice in one map', ours: 'msgpack', theirs: 'taken', when: has('key twice') },
  { name: 'CONNECT_ERROR from a client', ours: 'server_only', theirs: 'taken', when: (_, p) => p.type === 4 },
  { name: 'namespace without a slash, with a query, control characters, or too long', ours: 'namespace', theirs: 'taken', when: (_, p) => !p.nsp.startsWith('/') || /[?\p{Cc}]/u.test(p.nsp) || Buffer.byteLength(p.nsp) > 128 },
  { name: 'id on CONNECT or DISCONNECT', ours: 'ack_id', theirs: 'taken', when: (_, p) => p.id !== undefined && p.type < 2 },
  { name: 'id that is negative, or a float', ours: 'ack_id', theirs: 'taken', when: (bytes, p) => p.id < 0 || bytes.includes(Buffer.from('\xa2id\xcb', 'latin1')) },
  { name: 'event whose first element is no text', ours: 'payload', theirs: 'taken', when: (_, p) => p.type === 2 && typeof p.first !== 'string' },
  { name: 'event name that is too long', ours: 'event_name', theirs: 'taken', when: (_, p) => p.type === 2 && Buffer.byteLength(p.first) > 128 },
  { name: 'binary in CONNECT', ours: 'payload', theirs: 'taken', when: (_, p) => p.type === 0 && binaries(p.value) > 0 },
  { name: 'binary beside the payload', ours: 'payload', theirs: 'taken', when: (_, p) => binaries(p.rest) > 0 },
  { name: 'more than 10 attachments', ours: 'too_many_attachments', theirs: 'taken', when: has('11 binaries') },
  { name: 'placeholder beside attachments', ours: 'placeholder', theirs: 'taken', when: (_, p) => binaries(p.value) > 0 && count(p.value, (each) => each?._placeholder === true) > 0 },
  { name: 'nesting deeper than 32', ours: 'too_deep', theirs: 'taken', when: has('deep') },
  { name: 'member "__proto__", which notepack.io loses', ours: 'another', theirs: 'taken', when: has('__proto__') },
];
