// The real binary in a process of its own, on a free port, with a temporary data folder.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

import { issued, SECRET } from './tokens.mjs';
import { brief, pause, within } from './wait.mjs';

const START_LIMIT = 15_000;
const STOP_LIMIT = 15_000;
/** Every message content in these tests begins with this, so that a content in a log can be told. */
export const CONTENT_MARK = 'said:';

const ownFolder = new URL('..', import.meta.url).pathname;

function binary(variable, fallback, build) {
  const path = resolve(process.env[variable] ?? join(ownFolder, fallback));
  assert.ok(existsSync(path), `${path} is missing: run \`${build}\`, or set ${variable}`);
  return path;
}

export const altWsBinary = () => binary('ALT_WS_BIN', '../target/debug/alt-ws', 'cargo build');
export const conformanceBinary = () =>
  binary('CONFORMANCE_BIN', '../target/debug/examples/conformance', 'cargo build --example conformance');

/** A port that was free a moment ago. */
export async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

const folders = [];
const children = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1)); // so that 'exit' is run

/** A folder that goes with this process. */
export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'alt-ws-test-'));
  folders.push(folder);
  return folder;
}

/** A child process whose output is kept. Not limited to alt-ws: the conformance example runs in it too. */
export class Process {
  constructor(path, args, env, cwd) {
    this.log = '';
    this.child = spawn(path, args, { cwd, env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    children.add(this.child);
    this.child.unref(); // a server that a failed test left behind does not keep the test process waiting
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (this.log += text));
      stream.unref();
    }
    this.exited = new Promise((done) => {
      this.child.on('error', (error) => done({ code: `not started: ${error.message}` }));
      this.child.on('close', (code, signal) => done({ code, signal }));
    }).then((end) => {
      children.delete(this.child);
      return (this.end = end);
    });
  }

  get running() {
    return this.end === undefined;
  }

  /** The last lines of the log, for a failure message. */
  tail(lines = Number(process.env.TAIL ?? 40)) {
    return `--- end of the server's log ---\n${this.log.trimEnd().split('\n').slice(-lines).join('\n')}`;
  }

  /** Waits until `url` answers 200. */
  async ready(url) {
    const deadline = Date.now() + START_LIMIT;
    let last = 'no answer';
    while (this.running && Date.now() < deadline) {
      try {
        const response = await fetch(url, { signal: AbortSignal.timeout(1_000), headers: { connection: 'close' } });
        last = `${response.status} ${await response.text()}`;
        if (response.status === 200) return;
      } catch (error) {
        last = error.cause?.code ?? error.message;
      }
      await pause(20);
    }
    const end = this.running ? 'still running' : `ended: ${brief(this.end)}`;
    await this.signal('SIGKILL');
    throw new Error(`waited for 200 from ${url}, got ${last}; the process is ${end}\n${this.tail()}`);
  }

  /** Sends a signal and waits for the end, which it returns. */
  async signal(name) {
    if (this.running) this.child.kill(name);
    return within(STOP_LIMIT, this.exited, () => `the process to end after ${name}\n${this.tail()}`);
  }
}

/** A running alt-ws. */
export class Server extends Process {
  #mayPrintToken;
  #members = Promise.resolve();

  constructor(port, dataDir, env, mayPrintToken) {
    super(altWsBinary(), [], env, dataDir);
    Object.assign(this, { port, dataDir, env, url: `http://127.0.0.1:${port}` });
    this.#mayPrintToken = mayPrintToken;
  }

  /** Makes users members of a conversation with the operator's own command, one command at a time. */
  members(room, ...users) {
    return this.#editMembers('add', room, users);
  }

  /** Ends users' membership of a conversation. */
  expel(room, ...users) {
    return this.#editMembers('remove', room, users);
  }

  #editMembers(action, room, users) {
    const run = () => this.operator('members', action, String(room), ...users.map(String));
    this.#members = this.#members.then(run, run);
    return this.#members;
  }

  /** A command of the operator, in the server's environment; resolves to what it printed. */
  async operator(...args) {
    const options = { env: { PATH: process.env.PATH, ...this.env }, cwd: this.dataDir, timeout: START_LIMIT };
    return (await promisify(execFile)(altWsBinary(), args, options)).stdout;
  }

  /** SIGTERM: ends with 0, and the log holds no secret, no content and no panic. */
  async stop() {
    const end = await this.signal('SIGTERM');
    assert.deepEqual(end, { code: 0, signal: null }, `the end after SIGTERM\n${this.tail()}`);
    this.assertCleanLog();
  }

  /** SIGKILL: as when the power goes, for the process. */
  async kill() {
    await this.signal('SIGKILL');
    this.assertCleanLog();
  }

  assertCleanLog() {
    assert.doesNotMatch(this.log, /panicked at/, `a panic in the log\n${this.tail()}`);
    assert.ok(!this.log.includes(CONTENT_MARK), 'the content of a message is in the log');
    assert.ok(!this.log.includes(SECRET), 'JWT_SECRET is in the log');
    if (this.#mayPrintToken) return;
    assert.doesNotMatch(this.log, /eyJ[\w-]{8,}\.[\w-]{8,}/, 'something that looks like a token is in the log');
    for (const token of issued) assert.ok(!this.log.includes(token), 'a token is in the log');
  }

  /** Starts again on the same data, with the same environment; on the same port if `port` says so. */
  restart({ port } = {}) {
    return startServer(this.env, { dataDir: this.dataDir, port });
  }
}

/** The environment of a production server with every limit that a test would trip over by accident switched off. */
function environment(extra, port, dataDir) {
  return {
    NODE_ENV: 'production',
    JWT_SECRET: SECRET,
    CORES: '2',
    LOG_LEVEL: 'debug',
    RATE_LIMIT_EVENTS: '0',
    RATE_LIMIT_BYTES: '0',
    MAX_CONNECTIONS_PER_IP: '0',
    MAX_CONNECTIONS_PER_USER: '0',
    ...extra,
    WS_HOST: '127.0.0.1',
    WS_PORT: String(port),
    DATA_DIR: dataDir,
  };
}

/** Starts alt-ws and waits until it is ready. `mayPrintToken`: development without a secret prints one by contract. */
export async function startServer(
  extra = {},
  { dataDir = temporaryFolder(), mayPrintToken = false, port, until = '/readyz' } = {},
) {
  port ??= await freePort();
  const server = new Server(port, dataDir, environment(extra, port, dataDir), mayPrintToken);
  await server.ready(`${server.url}${until}`);
  return server;
}

/** Starts alt-ws with an environment that it is expected to refuse; returns how it ended and what it said. */
export async function refusesToStart(extra) {
  const port = await freePort();
  const dataDir = temporaryFolder();
  const server = new Process(altWsBinary(), [], environment(extra, port, dataDir), dataDir);
  const end = await within(START_LIMIT, server.exited, () => `a refused start\n${server.tail()}`).catch(async (error) => {
    await server.signal('SIGKILL');
    throw error;
  });
  return { ...end, log: server.log };
}

/** Starts the echo server that the official clients are tried on. */
export async function startConformance(env = {}, ...args) {
  const port = await freePort();
  const server = new Process(conformanceBinary(), ['--port', String(port), ...args], env, temporaryFolder());
  Object.assign(server, { port, url: `http://127.0.0.1:${port}` });
  await server.ready(`${server.url}/socket.io/?EIO=4&transport=polling`);
  return server;
}

/** A test body whose failure also shows the end of the server's log. */
export function showingLog(server, body) {
  return async (t) => {
    try {
      await body(t);
    } catch (error) {
      error.message += `\n${server.tail()}`;
      throw error;
    }
  };
}
