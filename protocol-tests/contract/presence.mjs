// Contract, sections 2 and 3: presence is of users, not devices, and for those who share a conversation.

import assert from 'node:assert/strict';

import { accepted, hasFields, ISO, refusedWith } from '../lib/expect.mjs';

const GRACE = 1_500; // PRESENCE_GRACE_MS, by default

export function presence(world) {
  const { test } = world;

  const about = (who) => (e) => e.userId === who.userId;

  /** A user in a room of hers with the given others, who have not connected yet. */
  async function watching(t, ...names) {
    const [first, ...others] = ['Ada', ...names].map((name) => world.claims(name));
    const room = await world.room(first.userId, ...others.map((c) => c.userId));
    const ada = await world.user(t, first);
    accepted(await ada.emitAck('room:join', { roomId: room }));
    return { room, ada, others };
  }

  /** Who is online in a room, as a device of `claims` learns on joining it. */
  async function onlineIn(t, room, claims) {
    const device = await world.user(t, claims);
    device.emit('room:join', { roomId: room });
    const { online } = await device.next('room:joined');
    return Object.fromEntries(online.map((u) => [u.userId, u.status]));
  }

  test('presence: contacts hear of the first device in and the last one out, others of nothing', async (t) => {
    const { room, ada, others: [bob] } = await watching(t, 'Bob');
    const { ada: carol, others: [dave] } = await watching(t, 'Dave');
    const laptop = await world.user(t, bob);
    hasFields(await ada.next('user:online', about(bob)), { ...bob, timestamp: ISO }, 'user:online');
    const phone = await world.user(t, bob);
    accepted(await phone.emitAck('room:join', { roomId: room }));
    laptop.disconnect();
    accepted(await phone.emitAck('presence:update', { status: 'away' }));
    await ada.next('presence:changed', about(bob));
    const left = performance.now();
    phone.disconnect();
    const offline = await ada.nextRecord('user:offline', about(bob));
    hasFields(offline.args[0], { ...bob, timestamp: ISO }, 'user:offline');
    const held = offline.at - left;
    assert.ok(held > GRACE - 200, `held back for ${Math.round(held)} ms: it was the phone's leaving that counted`);
    await world.user(t, dave);
    await carol.next('user:online', about(dave));
    const heard = carol.events.filter((e) => e.args[0]?.userId === bob.userId);
    assert.deepEqual(heard, [], 'Carol shares nothing with Bob');
    assert.equal(ada.all('user:online', about(bob)).length, 1);
    assert.equal(ada.all('user:offline', about(bob)).length, 1);
  });

  test('presence: a page reload is silent', async (t) => {
    const { ada, others: [bob, xavier] } = await watching(t, 'Bob', 'Xavier');
    const before = await world.user(t, bob);
    const clock = await world.user(t, xavier);
    await ada.next('user:online', about(bob));
    await ada.next('user:online', about(xavier));
    before.disconnect();
    await world.user(t, bob);
    clock.disconnect();
    await ada.next('user:offline', about(xavier)); // who left later: Bob's grace is over as well
    assert.deepEqual(ada.all('user:offline', about(bob)), []);
    assert.equal(ada.all('user:online', about(bob)).length, 1);
  });

  test('presence: each status is told to the contacts', async (t) => {
    const { ada, others: [bob] } = await watching(t, 'Bob');
    const user = await world.user(t, bob);
    for (const status of ['away', 'busy', 'online']) {
      accepted(await user.emitAck('presence:update', { status }));
      hasFields(await ada.next('presence:changed', about(bob)), { ...bob, status, timestamp: ISO }, 'presence:changed');
    }
    user.emit('presence:update', { status: 'away' });
    hasFields(await ada.next('presence:changed', about(bob)), { status: 'away' }, 'without an ack callback');
    for (const status of ['asleep', '', 'ONLINE', 5, null, ['away']]) {
      refusedWith(await user.emitAck('presence:update', { status }), 'bad_request', JSON.stringify(status));
    }
    user.emit('presence:update', { status: 'busy', userId: ada.userId, username: 'Ada' });
    hasFields(await ada.next('presence:changed'), { ...bob, status: 'busy' }, 'in one\'s own name only');
    assert.equal(ada.all('presence:changed', about(bob)).length, 5);
  });

  test('presence: offline means invisible, until one chooses otherwise', async (t) => {
    const { room, ada, others: [bob, cy] } = await watching(t, 'Bob', 'Cy');
    const user = await world.user(t, bob);
    accepted(await user.emitAck('room:join', { roomId: room }));
    accepted(await user.emitAck('presence:update', { status: 'offline' }));
    hasFields(await ada.next('presence:changed', about(bob)), { ...bob, status: 'offline' });
    const seen = await onlineIn(t, room, cy);
    assert.ok([undefined, 'offline'].includes(seen[bob.userId]), `Cy sees Bob as ${seen[bob.userId]}`);
    assert.equal(seen[ada.userId], 'online');
    accepted(await user.emitAck('presence:update', { status: 'online' }));
    hasFields(await ada.next('presence:changed', about(bob)), { status: 'online' });
  });

  test('presence: of several devices the latest explicit choice counts', async (t) => {
    const { room, ada, others: [bob, cy] } = await watching(t, 'Bob', 'Cy');
    const laptop = await world.user(t, bob);
    accepted(await laptop.emitAck('room:join', { roomId: room }));
    accepted(await laptop.emitAck('presence:update', { status: 'busy' }));
    const phone = await world.user(t, bob);
    accepted(await phone.emitAck('room:join', { roomId: room }));
    assert.equal((await onlineIn(t, room, cy))[bob.userId], 'busy', 'a new device chooses nothing');
    accepted(await phone.emitAck('presence:update', { status: 'away' }));
    await ada.next('presence:changed', (e) => e.userId === bob.userId && e.status === 'away');
    assert.equal((await onlineIn(t, room, cy))[bob.userId], 'away');
  });
}
