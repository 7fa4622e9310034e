// The shapes that the contract names again and again.

import assert from 'node:assert/strict';

import { brief } from './wait.mjs';

export const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
export const MESSAGE_ID = /^[0-9a-f]{24}$/;
export const CODES = [
  'access_denied', 'bad_request', 'not_found', 'too_large', 'rate_limited', 'busy', 'unavailable', 'storage_full',
  'token_expired', 'token_invalid', 'internal',
];

/** Each field of `expected` is in `actual` with the same type and value; a RegExp is matched against a string. */
export function hasFields(actual, expected, what = 'the event') {
  assert.equal(typeof actual, 'object', `${what} is ${brief(actual)}`);
  for (const [field, value] of Object.entries(expected)) {
    const where = `${field} of ${what} ${brief(actual)}`;
    if (value instanceof RegExp) {
      assert.equal(typeof actual[field], 'string', where);
      assert.match(actual[field], value, where);
    } else {
      assert.deepStrictEqual(actual[field], value, where);
    }
  }
}

/** `{ok:true, …}` */
export function accepted(answer, what = 'the ack') {
  assert.equal(answer?.ok, true, `${what}: ${brief(answer)}`);
  return answer;
}

/** `{ok:false, error:{code, message}}` with one of `codes`. */
export function refusedWith(answer, codes, what = 'the ack') {
  assert.equal(answer?.ok, false, `${what}: ${brief(answer)}`);
  const { code, message } = answer.error ?? {};
  assert.ok([codes].flat().includes(code), `code of ${what} is one of ${codes}: ${brief(answer)}`);
  assert.ok(CODES.includes(code), `a code of the contract: ${brief(answer)}`);
  assert.ok(typeof message === 'string' && message.length > 0, `message of ${what}: ${brief(answer)}`);
  return answer.error;
}

/** 1, 2, 3 … in the order given, none missing, none twice. */
export function gapless(messages, first = 1) {
  assert.deepEqual(messages.map((m) => m.seq), messages.map((_, i) => first + i), 'seq in order of arrival');
}
