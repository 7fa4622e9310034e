// Engine.IO payloads: cases, what npm engine.io-parser makes of them, and where ours differs on purpose.

import { decodePayload } from 'engine.io-parser';

import { mutated } from './values.mjs';

const SEPARATOR = '\x1e';
const PACKETS = ['1', '2', '2probe', '3', '3probe', '5', '4', '4hello', '4ä👩‍🚀', '40{"token":"t"}', '42["a",1]', '4\u2028', '4[{', '4b'];
const ODD = [
  '0', '0{"sid":"x"}', '6', '6x', '7', '9', 'a', '', ' 4', '2x', '2prob', '2 ', '1bye', '3late', '5x', 'B', '\ufeff4', '4\u0000', '-1', '٤x',
];
const ODD_BASE64 = ['A', 'AB', 'AAA==', 'AQ\nID', '_-8=', '=', '€', 'AA=A', 'AQI', 'AQID====', ' AQID', 'AR=='];

function packet(random) {
  if (random.once(4)) return `b${random.once(6) ? random.pick(ODD_BASE64) : random.bytes(7).toString('base64')}`;
  return random.pick(random.once(8) ? ODD : PACKETS);
}

/** The body of a POST: text, or bytes that are not quite text. */
export function makeCase(random) {
  const many = random.once(2_000) ? random.pick([1_022, 1_023, 1_024, 1_025, 3_000]) : 0;
  const packets = many ? Array.from({ length: many + 1 }, () => random.pick(['4', '4x', '2'])) : [packet(random), ...random.times(4, () => packet(random))];
  let body = packets.join(SEPARATOR);
  if (random.once(4)) body = mutated(random, body);
  const bytes = Buffer.from(body);
  if (random.once(30) && bytes.length > 0) bytes[random.below(bytes.length)] = 0x80 + random.below(128);
  return [bytes];
}

/** As for Socket.IO. The server of the reference reads a body as UTF-8 and puts U+FFFD for what is none. */
export function reference([body]) {
  const text = body.toString('utf8');
  const packets = decodePayload(text, 'nodebuffer');
  const steps = packets.filter(({ type }) => type !== 'error').map((packet) => ({ packet, text: body }));
  return { steps, end: steps.length < packets.length ? 'rejected' : 'done', text: body };
}

const plain = ({ type, data }) => ({ type, data: Buffer.isBuffer(data) ? `hex ${data.toString('hex')}` : data });

export const ours = ({ type, data }) => ({ type, data: data?.hex === undefined ? data : `hex ${data.hex}` });

export const same = (mine, theirs) => mine.type === theirs.type && mine.data === plain(theirs).data;

const pieces = (body) => body.toString('utf8').split(SEPARATOR);
const IGNORES_DATA = ['close', 'pong', 'upgrade'];

/** As for Socket.IO. With `another` both took the packet, and it is another one. */
export const EXCEPTIONS = [
  { name: 'body that is not UTF-8', ours: 'payload_not_utf8', theirs: 'taken', when: (body) => Buffer.compare(Buffer.from(body.toString('utf8')), body) !== 0 },
  { name: 'more than 1,024 packets in one body', ours: 'payload_too_many_packets', theirs: 'taken', when: (body) => pieces(body).length > 1_024 },
  { name: 'open or noop from a client', ours: 'packet_server_only', theirs: 'taken', when: (_, p) => p.type === 'open' || p.type === 'noop' },
  { name: 'ping with other data than "probe"', ours: 'packet_ping_data', theirs: 'taken', when: (_, p) => p.type === 'ping' && ![undefined, 'probe'].includes(p.data) },
  { name: 'base64 that is none', ours: 'packet_base64', theirs: 'taken', when: (body, p) => Buffer.isBuffer(p.data) && pieces(body).some((piece) => piece.startsWith('b') && !isBase64(piece.slice(1))) },
  { name: 'data after close, pong or upgrade', ours: 'another', theirs: 'taken', when: (_, p) => IGNORES_DATA.includes(p.type) && typeof p.data === 'string' },
  { name: 'message without data, here an empty text', ours: 'another', theirs: 'taken', when: (_, p) => p.type === 'message' && p.data === undefined },
];

/** Standard alphabet, padded or not, unused bits zero. */
const isBase64 = (text) => {
  const again = Buffer.from(text, 'base64').toString('base64');
  return text === again || text === again.replace(/=+$/, '');
};
