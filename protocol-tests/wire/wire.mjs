// What all groups of wire tests share: the echo server, its numbers, and the few steps that most of them take.

import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';

import { http } from '../lib/http.mjs';
import { WebSocketLink } from '../lib/links.mjs';
import { conformanceBinary, freePort, Process, showingLog } from '../lib/server.mjs';

export const ECHO = '/engine.io/';
export const SOCKET_IO = '/socket.io/';
export const PATHS = [ECHO, SOCKET_IO];

// What the example is set to, in ms and bytes.
export const PING_INTERVAL = 300;
export const PING_TIMEOUT = 200;
export const CONNECT_TIMEOUT = 1_000;
export const MAX_PAYLOAD = 1_000_000;

/** Both ends read their clocks in milliseconds. */
const TICK = 2;
/** What a busy machine may add to a deadline. */
const LATENESS = 1_500;

/** Starts the echo server on two cores. */
export async function startWire() {
  const port = await freePort();
  const server = new Process(conformanceBinary(), ['--port', String(port), '--cores', '2'], {}, tmpdir());
  Object.assign(server, { port, url: `http://127.0.0.1:${port}` });
  await server.ready(`${server.url}${ECHO}?EIO=4&transport=polling`);

  /** A link that is let go of when the test ends. */
  const open = async (t, Link, path = ECHO, options = {}) => {
    const link = await Link.open(server, path, options);
    t.after(() => link.end());
    return link;
  };

  return {
    server,
    open,
    /** A WebSocket to which `link`'s session may be upgraded. */
    probe: (t, { sid }, path = ECHO, options = {}) => open(t, WebSocketLink, path, { ...options, sid }),
    check: (name, body) => test(name, showingLog(server, body)),

    /** No core is stuck: the kernel spreads these connections over both, and each is answered. */
    async everyCoreAnswers() {
      const answers = Array.from({ length: 32 }, () => http(server, `${ECHO}?EIO=4&transport=polling`));
      for (const { status } of await Promise.all(answers)) assert.equal(status, 200);
      assert.ok(server.running, 'the server ended');
      assert.doesNotMatch(server.log, /panicked at/);
    },
  };
}

/** What is sent comes back, next. */
export async function echoes(link, packet = '4are you there') {
  await link.send(packet);
  assert.deepEqual(await link.next(), packet);
}

/** The time since `started` is `least`, or what a busy machine adds to it. */
export function assertElapsed(started, least, what) {
  const elapsed = performance.now() - started;
  assert.ok(elapsed >= least - TICK && elapsed <= least + LATENESS, `${what} after ${elapsed} ms, not ${least}`);
}

/** An answer is 400, with the code that the protocol's reference gives and a message. */
export function assertRefused({ status, text }, code, what) {
  assert.equal(status, 400, `${what}: ${text}`);
  const error = JSON.parse(text);
  assert.equal(error.code, code, `${what}: ${text}`);
  assert.equal(typeof error.message, 'string');
}
