// Contract, section 1: who gets in, as whom, and what the others are told.

import assert from 'node:assert/strict';

import { hasFields, refusedWith } from '../lib/expect.mjs';
import { seconds, sign } from '../lib/tokens.mjs';
import { unique, uniqueNumber } from '../lib/wait.mjs';
import { say, settled } from '../lib/world.mjs';

export function connecting(world) {
  const { test, kind: { refusal } } = world;

  /** Joins a room under `claims`; resolves to what somebody else in the room is told about it. */
  async function announced(t, claims, id) {
    const watcher = world.claims('Watcher');
    const room = await world.room(watcher.userId, id);
    const other = await world.user(t, watcher);
    await other.emitAck('room:join', { roomId: room });
    const user = await world.user(t, claims);
    user.emit('room:join', { roomId: room });
    return other.next('user:joined');
  }

  test('connecting: the transport is the one asked for', async (t) => {
    const user = await world.user(t, world.claims('Ada'));
    assert.equal(user.transport, world.mode === 'polling' ? 'polling' : 'websocket');
  });

  test('connecting: a token in the Authorization header of the handshake', async (t) => {
    const user = world.client(t, { extraHeaders: { Authorization: `Bearer ${sign(world.claims('Ada'))}` } });
    await user.open();
  });

  test('connecting: the token of the CONNECT payload goes before the header', async (t) => {
    const good = sign(world.claims('Ada'));
    const user = world.client(t, { token: 'not.a.token', extraHeaders: { Authorization: `Bearer ${good}` } });
    hasFields(await user.refusal(), refusal('Invalid token', 'token_invalid'), 'connect_error');
  });

  test('connecting: a token in the query string is not looked at', async (t) => {
    // Nor does it reach the log: the server's stop checks that for every token made here.
    const user = world.client(t, { query: { token: sign(world.claims('Ada')) } });
    hasFields(await user.refusal(), refusal('Authentication required', 'auth_required'), 'connect_error');
  });

  test('connecting: without a token', async (t) => {
    hasFields(await world.client(t).refusal(), refusal('Authentication required', 'auth_required'), 'connect_error');
  });

  const fine = { userId: 'ada', username: 'Ada' };
  const [head, body, mac] = sign(fine).split('.');
  const unacceptable = [
    ['that is no token', 'nonsense', 'token_invalid'],
    ['with an empty signature', `${head}.${body}.`, 'token_invalid'],
    ['with the signature of another', `${head}.${sign({ userId: 'eve' }).split('.')[1]}.${mac}`, 'token_invalid'],
    ['signed with another secret', sign(fine, { key: 'another secret of more than thirty-two bytes' }), 'token_invalid'],
    ['with "alg": "none"', sign(fine, { alg: 'none' }), 'token_invalid'],
    ['that names nobody', sign({ username: 'Ada' }), 'token_invalid'],
    ['whose exp is text', sign({ ...fine, exp: String(seconds(600)) }), 'token_invalid'],
    ['whose nbf is text', sign({ ...fine, nbf: 'now' }), 'token_invalid'],
    ['that is not valid yet', sign({ ...fine, nbf: seconds(600) }), 'token_invalid'],
    ['that ended a minute ago', sign({ ...fine, exp: seconds(-60) }), 'token_expired'],
  ];
  for (const [what, token, code] of unacceptable) {
    test(`connecting: a token ${what} is refused as ${code}`, async (t) => {
      hasFields(await world.client(t, { token }).refusal(), refusal('Invalid token', code), 'connect_error');
    });
  }

  test('connecting: a token that is no string never gets in', async (t) => {
    for (const token of [{ $ne: null }, ['x'], 42, true]) {
      const error = await world.client(t, { auth: { token } }).refusal();
      assert.ok(['Invalid token', 'Authentication required'].includes(error.message), error.message);
    }
  });

  test('connecting: the clock may differ by 5 seconds', async (t) => {
    await world.client(t, { claims: { ...world.claims('Ada'), nbf: seconds(3) } }).open();
  });

  test('connecting: an expiring token ends the connection within a second, and says so', async (t) => {
    const exp = seconds(3);
    const user = await world.user(t, { ...world.claims('Ada'), exp });
    const error = await user.next('error', undefined, 12_000);
    hasFields(error, { code: 'token_expired' }, 'error');
    await user.next('disconnect', undefined, 2_000);
    const late = Date.now() / 1000 - exp;
    assert.ok(late > -1 && late < 5 + 1 + 1, `disconnected ${late} s after exp, 5 of which are leeway`);
  });

  test('connecting: a number stays a number as user id', async (t) => {
    const userId = uniqueNumber();
    hasFields(await announced(t, { userId, username: 'Ada' }, userId), { userId, username: 'Ada' });
  });

  test('connecting: digits in quotes stay text as user id', async (t) => {
    const userId = String(uniqueNumber());
    hasFields(await announced(t, { userId, username: 'Ada' }, userId), { userId, username: 'Ada' });
  });

  test('connecting: the user id is userId, else id, else sub', async (t) => {
    const [userId, id, sub] = [unique('u'), unique('i'), unique('s')];
    hasFields(await announced(t, { userId, id, sub, username: 'A' }, userId), { userId });
    hasFields(await announced(t, { id, sub, username: 'A' }, id), { userId: id });
    hasFields(await announced(t, { sub, username: 'A' }, sub), { userId: sub });
  });

  test('connecting: without a username the id as text stands in', async (t) => {
    const userId = uniqueNumber();
    hasFields(await announced(t, { userId }, userId), { userId, username: String(userId) });
  });

  test('connecting: every event about a user carries the id in the form of the token', async (t) => {
    const claims = { userId: uniqueNumber(), username: 'Ada' };
    const watcher = world.claims('Watcher');
    const room = await world.room(watcher.userId, claims.userId);
    const other = await world.user(t, watcher);
    await other.emitAck('room:join', { roomId: room });
    const user = await world.user(t, claims);
    hasFields(await other.next('user:online'), claims, 'user:online');
    await user.emitAck('room:join', { roomId: room });
    hasFields(await other.next('user:joined'), claims, 'user:joined');
    await say(user, room);
    hasFields(await other.next('message:new'), claims, 'message:new');
    const [mine] = await settled(other, room, user);
    user.emit('message:read', { roomId: room, messageId: mine._id });
    hasFields(await other.next('message:status'), { userId: claims.userId }, 'message:status');
    user.emit('typing:start', { roomId: room });
    hasFields(await other.next('typing:user'), claims, 'typing:user');
    user.emit('presence:update', { status: 'busy' });
    hasFields(await other.next('presence:changed', (e) => e.status === 'busy'), claims, 'presence:changed');
    user.emit('room:leave', { roomId: room });
    hasFields(await other.next('user:left'), claims, 'user:left');
    user.disconnect();
    hasFields(await other.next('user:offline'), claims, 'user:offline');
  });

  test('connecting: any namespace but / is refused', async (t) => {
    const error = await world.client(t, { namespace: '/admin', claims: world.claims('Ada') }).refusal();
    assert.equal(error.message, 'Invalid namespace');
  });

  test('acks: an unknown event is answered with bad_request', async (t) => {
    const user = await world.user(t, world.claims('Ada'));
    for (const event of ['nonsense', 'message:new', '__proto__', 'constructor', 'message']) {
      refusedWith(await user.emitAck(event, { roomId: 'x' }), 'bad_request', event);
    }
    refusedWith(await user.emitAck('nonsense'), 'bad_request', 'an event without a payload');
  });

  test('acks: an event named as one of the client\'s own is unknown as well', async (t) => {
    const user = await world.user(t, world.claims('Ada'));
    for (const event of ['error', 'ping', 'reconnect']) refusedWith(await user.emitAck(event, {}), 'bad_request', event);
  });

  test('acks: every event answers a payload that is no object with bad_request', async (t) => {
    const user = await world.user(t, world.claims('Ada'));
    const events = [
      'room:join', 'room:leave', 'message:send', 'typing:start', 'typing:stop', 'message:history',
      'message:delivered', 'message:read', 'presence:update', 'auth:refresh',
    ];
    for (const event of events) {
      for (const payload of [null, 'text', 5, [], {}]) {
        refusedWith(await user.emitAck(event, payload), 'bad_request', `${event} ${JSON.stringify(payload)}`);
      }
      refusedWith(await user.emitAck(event), 'bad_request', `${event} without a payload`);
    }
  });
}
