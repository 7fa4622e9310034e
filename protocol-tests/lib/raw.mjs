// Engine.IO spoken by hand over TCP, for what no well-behaved client would send.

import { createHash, randomBytes } from 'node:crypto';
import { connect as connectTcp } from 'node:net';

import { http } from './http.mjs';
import { brief, PATIENCE, within } from './wait.mjs';

export const SEPARATOR = '\x1e';
const PATH = '/socket.io/';

/** A TCP connection whose input is kept. */
export class Tcp {
  received = Buffer.alloc(0);
  closed = false;
  #watchers = new Set();

  static async open(port) {
    const tcp = new Tcp();
    tcp.socket = connectTcp({ port, host: '127.0.0.1', noDelay: true });
    tcp.socket.on('data', (bytes) => {
      tcp.received = Buffer.concat([tcp.received, bytes]);
      tcp.#changed();
    });
    tcp.socket.on('error', () => {}); // 'close' follows
    const ended = () => {
      tcp.closed = true;
      tcp.#changed();
    };
    tcp.socket.on('end', ended).on('close', ended);
    await within(PATIENCE, new Promise((done) => tcp.socket.once('connect', done)), () => 'a TCP connection');
    return tcp;
  }

  #changed() {
    for (const look of this.#watchers) look();
  }

  /** Resolves to what `find` returns once that is not undefined. */
  until(find, what, timeout = PATIENCE) {
    let look;
    const found = new Promise((resolve) => {
      look = () => {
        const hit = find();
        if (hit !== undefined) resolve(hit);
      };
      this.#watchers.add(look);
      look();
    });
    const story = () => `${what}; received ${brief(this.received.toString('latin1'))}${this.closed ? ', then the end' : ''}`;
    return within(timeout, found, story).finally(() => this.#watchers.delete(look));
  }

  write(data) {
    if (!this.socket.destroyed) this.socket.write(data);
  }

  destroy() {
    this.socket.destroy();
  }

  /** The status of the HTTP response that came, or 0 if the connection ended without one. */
  status(what = 'an HTTP response', timeout = PATIENCE) {
    const find = () => {
      const [, status] = /^HTTP\/1\.[01] (\d{3}) [^]*?\r\n\r\n/.exec(this.received.toString('latin1')) ?? [];
      return status ? Number(status) : this.closed ? 0 : undefined;
    };
    return this.until(find, what, timeout);
  }
}

/** Writes `text` on a new connection and resolves to the status that it is answered with. */
export async function rawStatus(server, text, timeout) {
  const tcp = await Tcp.open(server.port);
  try {
    tcp.write(text);
    return await tcp.status(`an answer to ${brief(text, 100)}`, timeout);
  } finally {
    tcp.destroy();
  }
}

/** A session over long-polling. */
export class Polling {
  /** Opens a session and, given a token, connects to the namespace `/`. */
  static async open(server, token, path = PATH) {
    const session = new Polling();
    Object.assign(session, { server, path, inbox: [] });
    const { status, text } = await http(server, `${path}?EIO=4&transport=polling`);
    if (status !== 200) throw new Error(`the handshake got ${status} ${brief(text)}`);
    session.sid = JSON.parse(text.slice(1)).sid;
    if (token) {
      await session.post(`40${JSON.stringify({ token })}`);
      await session.receive((packet) => packet.startsWith('40'));
    }
    return session;
  }

  get query() {
    return `${this.path}?EIO=4&transport=polling&sid=${this.sid}`;
  }

  post(body, headers = {}) {
    return http(this.server, this.query, {
      method: 'POST',
      headers: { 'Content-Type': 'text/plain;charset=UTF-8', 'Content-Length': Buffer.byteLength(body), ...headers },
      body,
    });
  }

  /** Several packets at once. */
  burst(packets) {
    return this.post(packets.join(SEPARATOR));
  }

  /** What has come and was not asked for. */
  waiting() {
    return this.inbox;
  }

  poll() {
    return http(this.server, this.query);
  }

  /** Polls until a packet satisfies `predicate`, and resolves to it. */
  async receive(predicate) {
    for (let polls = 0; polls < 20; polls++) {
      const at = this.inbox.findIndex(predicate);
      if (at >= 0) return this.inbox.splice(at, 1)[0];
      const { status, text } = await this.poll();
      if (status !== 200) throw new Error(`a poll got ${status} ${brief(text)}; waiting: ${brief(this.inbox)}`);
      this.inbox.push(...text.split(SEPARATOR));
    }
    throw new Error(`20 polls did not bring ${predicate}: ${brief(this.inbox)}`);
  }

  /** Resolves once the server knows the session no more. */
  async ended() {
    for (let polls = 0; polls < 5; polls++) {
      const { status } = await this.poll();
      if (status === 400) return;
    }
    throw new Error('the session still answers polls');
  }
}

/** A WebSocket spoken by hand. Server frames are kept as `{opcode, payload}`. */
export class WebSocketByHand {
  frames = [];
  #parsed = 0;

  /** Asks for a WebSocket; `status` is 101 when it was granted. `extra` bytes go in the same segment as the request. */
  static async open(server, { path = PATH, sid, extra = Buffer.alloc(0) } = {}) {
    const ws = new WebSocketByHand();
    ws.tcp = await Tcp.open(server.port);
    const key = randomBytes(16).toString('base64');
    const query = `EIO=4&transport=websocket${sid ? `&sid=${sid}` : ''}`;
    const head =
      `GET ${path}?${query} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`;
    ws.tcp.write(Buffer.concat([Buffer.from(head), extra]));
    ws.status = await ws.tcp.status('the answer to an upgrade');
    if (ws.status !== 101) return ws;
    const end = ws.tcp.received.indexOf('\r\n\r\n');
    const answer = ws.tcp.received.subarray(0, end).toString('latin1');
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    if (!answer.includes(accept)) throw new Error(`no Sec-WebSocket-Accept for our key: ${answer}`);
    ws.#parsed = end + 4;
    return ws;
  }

  /** A new session over WebSocket, connected to `/` with `token`. */
  static async connected(server, token) {
    const ws = await WebSocketByHand.open(server);
    await ws.next((text) => text.startsWith('0{'));
    ws.text(`40${JSON.stringify({ token })}`);
    await ws.next((text) => text.startsWith('40{'));
    return ws;
  }

  #parse() {
    for (;;) {
      const bytes = this.tcp.received.subarray(this.#parsed);
      if (bytes.length < 2) return;
      const short = bytes[1] & 0x7f;
      const header = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (bytes.length < header) return;
      const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
      if (bytes.length < header + length) return;
      this.frames.push({ opcode: bytes[0] & 0x0f, payload: bytes.subarray(header, header + length) });
      this.#parsed += header + length;
    }
  }

  #send(opcode, payload) {
    const mask = randomBytes(4);
    const head = [0x80 | opcode];
    if (payload.length < 126) head.push(0x80 | payload.length);
    else if (payload.length < 65_536) head.push(0xfe, payload.length >> 8, payload.length & 0xff);
    else {
      const length = Buffer.alloc(8);
      length.writeBigUInt64BE(BigInt(payload.length));
      head.push(0xff, ...length);
    }
    const masked = Buffer.from(payload.map((byte, i) => byte ^ mask[i & 3]));
    this.tcp.write(Buffer.concat([Buffer.from(head), mask, masked]));
  }

  text(text) {
    this.#send(1, Buffer.from(text));
  }

  binary(bytes) {
    this.#send(2, Buffer.from(bytes));
  }

  /** Several packets at once, in one segment. */
  burst(packets) {
    this.tcp.socket.cork();
    for (const packet of packets) this.text(packet);
    this.tcp.socket.uncork();
  }

  /** As `next`, for text alone. */
  receive(predicate) {
    return this.next((data) => typeof data === 'string' && predicate(data));
  }

  /** What has come as text and was not asked for. */
  waiting() {
    this.#parse();
    return this.frames.filter((f) => f.opcode === 1).map((f) => f.payload.toString());
  }

  /** Asks for the end with a close frame, code 1000. */
  close() {
    this.#send(8, Buffer.from([0x03, 0xe8]));
  }

  /** The next data frame (text as a string, binary as a Buffer) that satisfies `predicate`, which alone is taken. */
  next(predicate = () => true, what = 'a frame', timeout = PATIENCE) {
    const value = ({ opcode, payload }) => (opcode === 1 ? payload.toString() : payload);
    const find = () => {
      this.#parse();
      const at = this.frames.findIndex((f) => (f.opcode === 1 || f.opcode === 2) && predicate(value(f)));
      return at < 0 ? undefined : value(this.frames.splice(at, 1)[0]);
    };
    return this.tcp.until(find, what, timeout);
  }

  /** Resolves once the server has ended the connection: a close frame or the end of TCP. */
  ended(timeout = PATIENCE, what = 'the end of the connection') {
    const find = () => {
      this.#parse();
      return this.tcp.closed || this.frames.some((f) => f.opcode === 8) ? true : undefined;
    };
    return this.tcp.until(find, what, timeout).finally(() => this.destroy());
  }

  /** Resolves to `'closed'` or to the text of the first frame that satisfies `predicate`. */
  nextOrEnd(predicate, what, timeout = PATIENCE) {
    const find = () => {
      this.#parse();
      const hit = this.frames.find((f) => f.opcode === 1 && predicate(f.payload.toString()));
      if (hit) return hit.payload.toString();
      return this.tcp.closed || this.frames.some((f) => f.opcode === 8) ? 'closed' : undefined;
    };
    return this.tcp.until(find, what, timeout);
  }

  destroy() {
    this.tcp.destroy();
  }
}
