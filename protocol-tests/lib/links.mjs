// A session seen packet by packet, the same way over both transports: what the rules of the protocols are checked with.
// Over WebSocket the frames are those of `ws`, so that what our server writes is read by somebody else's parser.

import { WebSocket } from 'ws';

import { Polling, SEPARATOR } from './raw.mjs';
import { brief, PATIENCE, within } from './wait.mjs';

export const PING = '2';
export const PONG = '3';

/** A text packet is a string, a binary one a Buffer. */
const encode = (packet) => (typeof packet === 'string' ? packet : `b${packet.toString('base64')}`);
const decode = (text) => (text.startsWith('b') ? Buffer.from(text.slice(1), 'base64') : text);

/** A session over long-polling. Every request has a TCP connection of its own, so any core may receive it. */
export class PollingLink {
  static label = 'polling';
  inbox = [];
  #posting = Promise.resolve();

  /** `heartbeat`: pings are answered and not shown. */
  static async open(server, path, { heartbeat = true } = {}) {
    const session = await Polling.open(server, undefined, path);
    return Object.assign(new PollingLink(), { session, sid: session.sid, heartbeat });
  }

  /** Posts the packets as one payload, after what was posted before; resolves to the answer. */
  send(...packets) {
    const post = () => this.session.post(packets.map(encode).join(SEPARATOR));
    this.#posting = this.#posting.then(post, post);
    return this.#posting;
  }

  /** One poll, whose packets go to the inbox. Resolves to its status. */
  async poll() {
    const { status, text } = await this.session.poll();
    this.ending = `${status} ${brief(text)}`;
    if (status !== 200) return status;
    for (const packet of text.split(SEPARATOR)) {
      if (packet === PING && this.heartbeat) await this.send(PONG);
      else this.inbox.push(decode(packet));
    }
    return status;
  }

  /** The next packet. */
  async next() {
    while (this.inbox.length === 0) {
      if ((await this.poll()) !== 200) throw new Error(`a poll got ${this.ending} where a packet was expected`);
    }
    return this.inbox.shift();
  }

  /** Resolves once the server knows the session no more. */
  closed() {
    const polls = async () => {
      while ((await this.poll()) === 200);
      if (!this.ending.startsWith('400')) throw new Error(`a poll of a closed session got ${this.ending}`);
    };
    return within(PATIENCE, polls(), () => `the session's end; the last poll got ${this.ending}`);
  }

  end() {} // the heartbeat's absence ends it
}

/** A WebSocket: a session of its own or, with a `sid`, one to which a session may be upgraded. */
export class WebSocketLink {
  static label = 'WebSocket';
  inbox = [];
  #waiting;

  static async open(server, path, { sid, heartbeat = true } = {}) {
    const link = Object.assign(new WebSocketLink(), { heartbeat });
    const query = `EIO=4&transport=websocket${sid ? `&sid=${sid}` : ''}`;
    link.socket = new WebSocket(`ws://127.0.0.1:${server.port}${path}?${query}`);
    link.socket.on('message', (data, isBinary) => link.#arrived(isBinary ? data : data.toString()));
    link.socket.on('error', (error) => (link.error = error)); // 'close' follows
    link.ended = new Promise((done) => {
      link.socket.on('close', (code) => {
        link.code = code;
        link.#waiting?.();
        done(code);
      });
    });
    const opened = new Promise((done) => link.socket.on('open', done));
    await within(PATIENCE, Promise.race([opened, link.ended]), () => 'a WebSocket to open');
    if (link.error) throw link.error;
    if (!sid) link.sid = JSON.parse((await link.next()).slice(1)).sid;
    return link;
  }

  #arrived(packet) {
    if (packet === PING && this.heartbeat) return void this.send(PONG);
    this.inbox.push(packet);
    this.#waiting?.();
  }

  /** Sends each packet in a message of its own, all at once. */
  async send(...packets) {
    for (const packet of packets) this.socket.send(packet);
    return { status: 200 };
  }

  /** The next packet. */
  async next() {
    if (this.inbox.length === 0 && this.code === undefined) {
      const arrival = new Promise((done) => (this.#waiting = done));
      await within(PATIENCE, arrival, () => 'a message on a WebSocket');
    }
    if (this.inbox.length === 0) throw new Error(`the WebSocket was closed with ${this.code} where a packet was expected`);
    return this.inbox.shift();
  }

  /** Resolves to the status code with which the server closed. */
  closed() {
    return within(PATIENCE, this.ended, () => `a WebSocket's end; it received ${brief(this.inbox)}`);
  }

  end() {
    this.socket.terminate();
  }
}

/** Both ways to have a session. */
export const LINKS = [PollingLink, WebSocketLink];
