// examples/decode.rs as a child: what our decoders make of bytes, thousands of cases at a time.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

const path = resolve(process.env.DECODE_BIN ?? new URL('../../target/debug/examples/decode', import.meta.url).pathname);

function framed(kind, messages) {
  const parts = [Buffer.from([kind.charCodeAt(0), messages.length])];
  for (const message of messages) {
    // The body of a POST is text to the decoder, whatever its bytes are.
    const tag = typeof message === 'string' || kind === 'e' ? 't' : 'b';
    const bytes = Buffer.from(message);
    const head = Buffer.from([tag.charCodeAt(0), 0, 0, 0, 0]);
    head.writeUInt32BE(bytes.length, 1);
    parts.push(head, bytes);
  }
  return Buffer.concat(parts);
}

export class DecoderProcess {
  #child;
  #lines = [];
  #rest = '';
  #wake = () => {};
  #ended;

  constructor() {
    assert.ok(existsSync(path), `${path} is missing: run \`cargo build --example decode\`, or set DECODE_BIN`);
    this.#child = spawn(path, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdin.on('error', () => {}); // 'close' follows
    this.#child.stdout.setEncoding('utf8').on('data', (text) => {
      const lines = (this.#rest + text).split('\n');
      this.#rest = lines.pop();
      this.#lines.push(...lines);
      this.#wake();
    });
    this.#child.on('close', (code, signal) => {
      this.#ended = `the decoder ended (${code ?? signal})`;
      this.#wake();
    });
  }

  /** Sends cases of one kind; resolves to what became of each, in their order. */
  async decode(kind, cases) {
    this.#child.stdin.write(Buffer.concat(cases.map((messages) => framed(kind, messages))));
    while (this.#lines.length < cases.length) {
      assert.equal(this.#ended, undefined, this.#ended);
      await new Promise((wake) => (this.#wake = wake));
    }
    return this.#lines.splice(0, cases.length).map((line) => JSON.parse(line));
  }

  stop() {
    this.#child.stdin.end();
  }
}
