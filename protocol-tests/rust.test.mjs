// The contract's main sequences with the client of Rust programs, which is a program of its own (rust-client/).

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';

import { MODES } from './lib/client.mjs';
import { showingLog, startServer } from './lib/server.mjs';
import { record } from './lib/tally.mjs';
import { sign } from './lib/tokens.mjs';

const program = process.env.RUST_CLIENT_BIN || new URL('../target/rust-client/debug/alt-ws-rust-client', import.meta.url).pathname;
assert.ok(existsSync(program), `${program} is missing: run.sh builds it (or set RUST_CLIENT_BIN)`);
const manifest = readFileSync(new URL('rust-client/Cargo.toml', import.meta.url), 'utf8');
const [, version] = manifest.match(/rust_socketio = \{ version = "=(\d+\.\d+)/);
const tokens = [{ userId: 'ada', username: 'Ada' }, { userId: 42, username: 'Bob' }].map((claims) => sign(claims));

/** Runs all sequences; resolves to what the program says about each. */
function sequences(server, mode) {
  return new Promise((done, fail) => {
    execFile(program, [server.url, mode, 'room', ...tokens], { timeout: 120_000 }, (error, stdout, stderr) => {
      const lines = stdout.split('\n').filter(Boolean);
      // An end with 1 is one of its own, after a `not ok`.
      if (error && error.code !== 1) fail(new Error(`${error.message}\n${stdout}${stderr}`));
      else done(lines);
    });
  });
}

describe(`rust_socketio ${version}`, { concurrency: MODES.length }, () => {
  for (const mode of MODES) {
    test(`over ${mode}`, async (t) => {
      const server = await startServer();
      t.after(() => server.stop());
      const check = async () => {
        await server.members('room', 'ada', 42);
        const lines = await sequences(server, mode);
        const failed = lines.filter((line) => !line.startsWith('ok '));
        record({ client: `rust_socketio ${version}`, mode, passed: lines.length - failed.length, failed });
        assert.deepEqual(failed, []);
        assert.equal(lines.length, 8, `every sequence says how it went: ${lines}`);
      };
      await showingLog(server, check)(t);
    });
  }
});
