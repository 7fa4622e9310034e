// Contract, section 2: typing is forwarded sparingly and never outlives the typist.

import assert from 'node:assert/strict';

import { accepted, hasFields } from '../lib/expect.mjs';
import { pause } from '../lib/wait.mjs';
import { settled } from '../lib/world.mjs';

export function typing(world) {
  const { test } = world;

  test('typing: start and stop reach the others alone', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    const { userId, username } = ada;
    for (const [event, isTyping] of [['typing:start', true], ['typing:stop', false]]) {
      accepted(await ada.emitAck(event, { roomId: room }));
      hasFields(await bob.next('typing:user'), { userId, username, roomId: room, isTyping }, 'typing:user');
    }
    await settled(ada, room, ada);
    assert.deepEqual(ada.all('typing:user'), []);
  });

  test('typing: without an ack callback it works the same', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    ada.emit('typing:start', { roomId: room });
    hasFields(await bob.next('typing:user'), { isTyping: true });
  });

  test('typing: repeated starts are forwarded every 3 s at most', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    let typing = true;
    const keys = (async () => {
      while (typing) {
        ada.emit('typing:start', { roomId: room });
        await pause(200);
      }
    })();
    try {
      const first = await bob.nextRecord('typing:user');
      const second = await bob.nextRecord('typing:user');
      hasFields(second.args[0], { isTyping: true });
      const apart = second.at - first.at;
      assert.ok(apart > 2_500 && apart < 5_500, `forwarded again after ${Math.round(apart)} ms`);
    } finally {
      typing = false;
      await keys;
    }
  });

  test('typing: it stops by itself 6 s after the last start', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    ada.emit('typing:start', { roomId: room });
    const start = await bob.nextRecord('typing:user');
    const stop = await bob.nextRecord('typing:user', undefined, 10_000);
    hasFields(stop.args[0], { userId: ada.userId, username: 'Ada', roomId: room, isTyping: false });
    const apart = stop.at - start.at;
    assert.ok(apart > 5_500 && apart < 8_000, `stopped after ${Math.round(apart)} ms`);
  });

  test('typing: it stops at once when the socket goes', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    ada.emit('typing:start', { roomId: room });
    await bob.next('typing:user', (e) => e.isTyping);
    const left = performance.now();
    ada.disconnect();
    const stop = await bob.nextRecord('typing:user');
    hasFields(stop.args[0], { userId: ada.userId, roomId: room, isTyping: false });
    assert.ok(stop.at - left < 3_000, `stopped ${Math.round(stop.at - left)} ms after the socket went`);
  });

  // A poll that breaks is noticed by the heartbeat alone, so there is no "at once" for polling.
  if (world.mode === 'polling') return;

  test('typing: it stops at once when the connection breaks', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    ada.emit('typing:start', { roomId: room });
    await bob.next('typing:user', (e) => e.isTyping);
    ada.socket.io.engine.transport.ws.terminate();
    hasFields(await bob.next('typing:user', undefined, 3_000), { isTyping: false });
  });
}
