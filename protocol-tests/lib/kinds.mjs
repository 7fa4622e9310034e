// The JavaScript clients that the contract is run with, each brought to one form: what a kind does differently is said here and nowhere else.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { io as io4 } from 'socket.io-client';
import io2 from 'socket.io-client-2';
import { io as io3 } from 'socket.io-client-3';
import * as msgpack from 'socket.io-msgpack-parser';

const { resolve } = createRequire(import.meta.url);

/** `socket.io-client 4.8`, of the package that is really installed under this name. */
function labelled(installed, name = 'socket.io-client') {
  const path = resolve(installed).replace(new RegExp(`(/node_modules/${installed})/.*`), '$1/package.json');
  const [major, minor] = JSON.parse(readFileSync(path, 'utf8')).version.split('.');
  return `${name} ${major}.${minor}`;
}

/** What a client that is refused is told, as `connect_error` carries it from version 3 on. */
const refusal = (message, code) => ({ message, ...(code && { data: { code } }) });

/** The packet type with which revision 4 of Socket.IO refuses. */
const ERROR = 4;

/**
 * A socket of 2.x with what 3 brought: a token in `auth` (there, the handshake's header), `onAny`, and `connect_error`
 * for a refusal (there, an event `error`, which is also the name of one of our own).
 */
function ioOf2(url, { auth, extraHeaders, ...options }) {
  const token = auth?.token && { Authorization: `Bearer ${auth.token}` };
  const socket = io2(url, { ...options, extraHeaders: { ...extraHeaders, ...token } });
  const listeners = [];
  socket.onAny = (listener) => listeners.push(listener);
  // Before `open`, which is when the socket hands its own methods to the manager.
  const { onpacket } = socket;
  socket.onpacket = (packet) => {
    if (packet.type === ERROR) socket.emit('connect_error', new Error(packet.data));
    else onpacket.call(socket, packet);
  };
  socket.onevent = ({ data }) => listeners.forEach((listener) => listener(...data));
  return socket;
}

const NO_AUTH = 'its CONNECT carries no data: the token is the header of the handshake';

/**
 * Every kind: `io` makes a socket, `serverEnv` is what the server needs to be told, `needs` the same for people, `refusal` the
 * fields of the error of one who is refused, `impossible` the tests that cannot be run with this kind, each with the reason.
 */
const V4 = { name: labelled('socket.io-client'), io: io4, serverEnv: {}, refusal, impossible: {} };
const MSGPACK = {
  ...V4,
  name: `${V4.name}, socket.io-msgpack-parser`,
  io: (url, options) => io4(url, { ...options, parser: msgpack }),
  serverEnv: { PARSER: 'msgpack' },
  needs: '`PARSER=msgpack`, which is then spoken with every client',
  impossible: { 'message:history: a bound beyond every integer': 'its encoder cuts an integer down to 64 bits' },
};
const V3 = { ...V4, name: labelled('socket.io-client-3'), io: io3 };
const V2 = {
  ...V4,
  name: labelled('socket.io-client-2'),
  io: ioOf2,
  serverEnv: { ALLOW_EIO3: 'true' },
  needs:
    '`ALLOW_EIO3=true`. The token goes into the header `Authorization` (`extraHeaders`), and a refusal is an event `error` ' +
    'with the message alone',
  refusal: (message) => ({ message }),
  impossible: {
    'connecting: the token of the CONNECT payload goes before the header': NO_AUTH,
    'connecting: a token that is no string never gets in': NO_AUTH,
    'acks: an event named as one of the client\'s own is unknown as well': 'it keeps these names to itself',
  },
};

/** In the order of the README's table. The first is the one that other tests chat with. */
export const KINDS = [V4, MSGPACK, V3, V2];
