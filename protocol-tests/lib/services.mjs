// PostgreSQL and a server that speaks MongoDB's protocol, each in a temporary folder on a free port, or the servers that
// PG_URL and MONGO_URI name. A program that is missing is a failure, with the command that installs it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { MongoClient } from 'mongodb';

import { freePort, Process } from './server.mjs';
import { pause, unique } from './wait.mjs';

const START_LIMIT = 60_000;
const isRoot = process.getuid() === 0;

/** Both, and the environment that makes alt-ws use them. */
export async function databases() {
  const [postgres, mongo] = await Promise.all([startPostgres(), startMongo()]);
  return {
    postgres,
    mongo,
    stop: () => Promise.all([postgres.stop(), mongo.stop()]),
    env: { ...postgres.env, MONGO_URI: mongo.uri },
  };
}

/** A database server of our own, which can be ended, halted and started again on its data. */
class Service {
  #start;

  constructor(start, fields) {
    this.#start = start;
    Object.assign(this, fields);
  }

  /** Returns when it answers, which a server that recovers from a kill does some time after it listens. */
  async start() {
    this.process = this.#start();
    await until(this.process, () => isOpen(this.port));
    await until(this.process, this.answers ?? (() => true));
    return this;
  }

  /** SIGKILL to the server and all of its processes. */
  async kill() {
    this.#signalAll('SIGKILL');
    await this.process.exited;
  }

  /** Everything stands still, and connections stay open. */
  pause() {
    this.#signalAll('SIGSTOP');
  }

  resume() {
    this.#signalAll('SIGCONT');
  }

  /** In good order, or as abruptly as the service's own way of stopping is. */
  stop() {
    this.resume();
    return this.process.signal(this.stopSignal);
  }

  #signalAll(signal) {
    const { pid } = this.process.child;
    // The server first, so that it starts no more.
    for (const each of [pid, ...children(pid)]) {
      try {
        process.kill(each, signal);
      } catch (error) {
        if (error.code !== 'ESRCH') throw error;
      }
    }
  }
}

function children(pid) {
  try {
    return execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' }).trim().split('\n').map(Number);
  } catch {
    return []; // it has none
  }
}

/** A server that somebody else runs. */
const lent = (fields) => {
  const refuse = () => assert.fail('this test ends and halts the databases: unset PG_URL and MONGO_URI');
  return { ...fields, stop: async () => {}, kill: refuse, pause: refuse, resume: refuse, start: refuse };
};

export async function startPostgres() {
  if (process.env.PG_URL) {
    const { hostname, port, username, password, pathname } = new URL(process.env.PG_URL);
    const env = { DB_HOST: hostname, DB_PORT: port || '5432', DB_NAME: pathname.slice(1), DB_USER: username };
    return lent({ env: password ? { ...env, DB_PASS: password } : env, url: process.env.PG_URL });
  }
  const places = [process.env.PG_BIN, bindir(), ...debianBindirs()];
  const programs = places.find((folder) => folder && existsSync(join(folder, 'initdb')));
  assert.ok(programs, 'PostgreSQL is missing: apt-get install -y postgresql (or set PG_BIN or PG_URL)');
  const folder = mkdtempSync(join(tmpdir(), 'alt-ws-postgres-'));
  // PostgreSQL refuses to run as root.
  const asUser = isRoot ? ['--reuid=postgres', '--regid=postgres', '--init-groups'] : [];
  if (isRoot) {
    const id = (flag) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
    chownSync(folder, id('-u'), id('-g'));
  }
  const data = join(folder, 'data');
  const initdb = [...asUser, join(programs, 'initdb'), '-A', 'trust', '-U', 'postgres', '-E', 'UTF8', '-D', data];
  execFileSync('setpriv', initdb, { cwd: folder });
  const port = await freePort();
  const args = ['-D', data, '-k', folder, '-p', String(port), '-c', 'listen_addresses=127.0.0.1'];
  const start = () => new Process('setpriv', [...asUser, join(programs, 'postgres'), ...args], {}, folder);
  const env = { DB_HOST: '127.0.0.1', DB_PORT: String(port), DB_NAME: 'postgres', DB_USER: 'postgres' };
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const psql = (sql) =>
    execFileSync(join(programs, 'psql'), ['-d', url, '-At', '-v', 'ON_ERROR_STOP=1', '-c', sql], {
      encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'],
    });
  const answers = () => {
    try {
      return psql('SELECT 1');
    } catch {
      return false; // it is still starting
    }
  };
  return new Service(start, { env, url, port, psql, answers, stopSignal: 'SIGQUIT' }).start();
}

function bindir() {
  try {
    return execFileSync('pg_config', ['--bindir'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined; // not installed; there are other places to look
  }
}

function debianBindirs() {
  const root = '/usr/lib/postgresql';
  return existsSync(root) ? readdirSync(root).map((version) => join(root, version, 'bin')) : [];
}

export async function startMongo() {
  const database = unique('alt').replaceAll('-', '_');
  if (process.env.MONGO_URI) {
    const uri = new URL(process.env.MONGO_URI);
    uri.pathname = `/${database}`;
    return lent({ uri: uri.href });
  }
  const program = process.env.SECANTUSD ?? new URL('../.services/bin/secantusd-py', import.meta.url).pathname;
  assert.ok(existsSync(program), `${program} is missing: make test installs it (or set SECANTUSD or MONGO_URI)`);
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'alt-ws-mongo-'));
  const args = ['--port', String(port), '--storage-path', folder, '--sync-on-commit', '--log-level', 'WARNING'];
  const uri = `mongodb://127.0.0.1:${port}/${database}?directConnection=true`;
  const answers = async () => {
    const client = new MongoClient(uri, { serverSelectionTimeoutMS: 500 });
    try {
      return await client.db('admin').command({ ping: 1 });
    } catch {
      return false; // it is still starting
    } finally {
      await client.close();
    }
  };
  const start = () => new Process(program, args, {}, folder);
  return new Service(start, { uri, port, answers, stopSignal: 'SIGTERM' }).start();
}

/** Waits until it is so, as long as the server runs. */
async function until(server, isSo) {
  for (const deadline = Date.now() + START_LIMIT; Date.now() < deadline && server.running; await pause(50)) {
    if (await isSo()) return;
  }
  throw new Error(`the service is not there\n${server.tail()}`);
}

/** Whether somebody listens on the port. */
const isOpen = (port) =>
  new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => done(true)).on('error', () => done(false));
    socket.on('connect', () => socket.destroy());
  });
