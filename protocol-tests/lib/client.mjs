// socket.io-client with a memory: everything that arrives is kept in order, and waited for by name.

import { KINDS } from './kinds.mjs';
import { sign } from './tokens.mjs';
import { brief, PATIENCE, within } from './wait.mjs';

/** How a client can be connected. `upgrade` begins with polling and counts as connected once on WebSocket. */
export const MODES = ['polling', 'websocket', 'upgrade'];

const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };

/** One official client and all it has received. */
export class Client {
  /** `{event, args, at, taken}` in the order of arrival; the client's own life is in it as connect, disconnect … */
  events = [];
  /** How long an acknowledgement may take, in ms. */
  patience = PATIENCE;
  #waiting = new Set();

  constructor(url, { kind = KINDS[0], mode = 'websocket', name = 'client', ...options }) {
    this.label = `${name} (${kind.name}, ${mode})`;
    this.mode = mode;
    this.socket = kind.io(url, {
      transports: TRANSPORTS[mode],
      upgrade: mode === 'upgrade',
      forceNew: true,
      reconnection: false,
      autoConnect: false,
      ...options,
    });
    this.socket.onAny((event, ...args) => this.#record(event, args));
    for (const event of ['connect', 'disconnect', 'connect_error']) {
      this.socket.on(event, (...args) => this.#record(event, args));
    }
  }

  #record(event, args) {
    this.events.push({ event, args, at: performance.now(), taken: false });
    for (const look of this.#waiting) look();
  }

  /** Resolves to what `find` returns, as soon as that is something: now or after a later event. */
  #until(find, describe, timeout = PATIENCE) {
    let look;
    const found = new Promise((resolve) => {
      look = () => {
        const hit = find();
        if (hit === undefined) return;
        this.#waiting.delete(look); // at once: a second look would take a second event
        resolve(hit);
      };
      this.#waiting.add(look);
      look();
    });
    return within(timeout, found, () => `${describe()} at ${this.label}; ${this.story()}`).finally(() =>
      this.#waiting.delete(look),
    );
  }

  /** The first untaken `event` whose arguments satisfy `predicate`: what came already counts. Resolves to its record. */
  nextRecord(event, predicate = undefined, timeout = PATIENCE) {
    const find = () => {
      const hit = this.events.find((e) => !e.taken && e.event === event && (predicate?.(...e.args) ?? true));
      if (hit) hit.taken = true;
      return hit;
    };
    return this.#until(find, () => `${event}${predicate ? ` with ${predicate}` : ''}`, timeout);
  }

  /** As `nextRecord`, resolving to the first argument. */
  async next(event, predicate, timeout) {
    return (await this.nextRecord(event, predicate, timeout)).args[0];
  }

  /** Resolves to the first arguments of all `event`s once `count` of them came, taken or not. Takes none. */
  collect(event, count, timeout = PATIENCE) {
    const find = () => {
      const all = this.all(event);
      return all.length >= count ? all : undefined;
    };
    return this.#until(find, () => `${count} x ${event} (${this.all(event).length} came)`, timeout);
  }

  /** First arguments of every `event` so far, taken or not. */
  all(event, predicate = () => true) {
    return this.events.filter((e) => e.event === event).map((e) => e.args[0]).filter(predicate);
  }

  /** What came so far, for a failure message. */
  story() {
    const lines = this.events.slice(-20).map((e) => `${e.event}${e.taken ? '' : '*'} ${brief(e.args)}`);
    return lines.length ? `arrived (* = not waited for):\n  ${lines.join('\n  ')}` : 'nothing arrived';
  }

  emit(...args) {
    this.socket.emit(...args);
  }

  /** Emits with an ack callback; resolves to the callback's first argument. */
  emitAck(event, ...args) {
    const answer = new Promise((resolve) => this.socket.emit(event, ...args, resolve));
    return within(this.patience, answer, () => `the ack of ${event} ${brief(args)} at ${this.label}; ${this.story()}`);
  }

  disconnect() {
    this.socket.disconnect();
  }

  /** Starts connecting; resolves once connected and, in upgrade mode, upgraded. Fails with the server's refusal. */
  async open() {
    this.socket.connect();
    const upgraded =
      this.mode === 'upgrade'
        ? new Promise((resolve) => this.socket.io.engine.once('upgrade', resolve))
        : Promise.resolve();
    const isEnd = (e) => !e.taken && (e.event === 'connect' || e.event === 'connect_error');
    const end = await this.#until(() => this.events.find(isEnd), () => 'connect');
    end.taken = true;
    if (end.event === 'connect_error') {
      const [error] = end.args;
      throw new Error(`${this.label} was refused: ${error.message} ${brief(error.data)} ${error.description ?? ''}`);
    }
    await within(PATIENCE, upgraded, () => `the upgrade to WebSocket of ${this.label}; ${this.story()}`);
    return this;
  }

  /** Starts connecting; resolves to the error it is refused with. */
  async refusal() {
    this.socket.connect();
    return this.next('connect_error');
  }

  get transport() {
    return this.socket.io.engine?.transport?.name;
  }
}

/** Makes a client of `server` (anything with a url) that goes when test `t` ends. */
export function client(t, server, { claims, token = claims && sign(claims), namespace = '/', ...options } = {}) {
  const made = new Client(server.url + namespace, { ...(token && { auth: { token } }), name: claims?.username, ...options });
  t.after(() => made.disconnect());
  return made;
}

/** A connected client. */
export const connect = (t, server, options) => client(t, server, options).open();

/** The error a client is refused with. */
export const refused = (t, server, options) => client(t, server, options).refusal();
