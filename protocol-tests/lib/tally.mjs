// How a client fared over one transport: a line of out/clients.jsonl, from which the README's table is made.

import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync } from 'node:fs';
import { test } from 'node:test';

export const RESULTS = new URL('../out/clients.jsonl', import.meta.url);

/** Adds `{client, mode, passed, failed, needs?}`, the last two being a list of names and what the server had to be told. */
export function record(line) {
  mkdirSync(new URL('.', RESULTS), { recursive: true });
  appendFileSync(RESULTS, `${JSON.stringify(line)}\n`);
}

/** Counts the tests of one kind of client over one transport, and leaves out those that are impossible with it. */
export class Tally {
  #passed = new Set();
  #all = new Set();
  #impossible = new Set();

  constructor(kind, mode) {
    Object.assign(this, { kind, mode });
  }

  /** As `test` of Node. */
  test = (name, body) => {
    assert.ok(!this.#all.has(name), `two tests are named ${name}`);
    if (name in this.kind.impossible) return void this.#impossible.add(name);
    this.#all.add(name);
    test(name, async (t) => {
      await body(t);
      this.#passed.add(name);
    });
  };

  /** To be called when all have run. */
  write() {
    const { kind: { name: client, needs, impossible }, mode } = this;
    const failed = [...this.#all].filter((name) => !this.#passed.has(name));
    record({ client, mode, needs, passed: this.#passed.size, failed, impossible });
    const unknown = Object.keys(impossible).filter((name) => !this.#impossible.has(name));
    assert.deepEqual(unknown, [], `tests that ${client} is excused from and that do not exist`);
  }
}
