// Contract, section 2: receipts are for real messages of others, stored, and told once.

import assert from 'node:assert/strict';

import { accepted, hasFields, ISO, refusedWith } from '../lib/expect.mjs';
import { say, saying, settled } from '../lib/world.mjs';

export function receipts(world) {
  const { test } = world;

  /** Ada has said `count` things to Bob. */
  async function told(t, count = 1) {
    const { room, users: [ada, bob], claims } = await world.party(t, 'Ada', 'Bob');
    for (let i = 0; i < count; i++) await say(ada, room);
    return { room, ada, bob, claims, written: await bob.collect('message:new', count) };
  }

  test('receipts: delivered, then read, to the others in the room', async (t) => {
    const { room, ada, bob, written: [message] } = await told(t);
    for (const status of ['delivered', 'read']) {
      accepted(await bob.emitAck(`message:${status}`, { roomId: room, messageId: message._id }));
      const expected = { messageId: message._id, status, timestamp: ISO, roomId: room, userId: bob.userId };
      const told = await ada.next('message:status');
      hasFields(told, expected, 'message:status');
      assert.ok(!told.upTo, 'upTo was not asked for');
    }
    await settled(ada, room, bob);
    assert.deepEqual(bob.all('message:status'), [], 'the sender of a receipt is not told of it');
  });

  test('receipts: without an ack callback they work the same', async (t) => {
    const { room, ada, bob, written: [message] } = await told(t);
    bob.emit('message:read', { roomId: room, messageId: message._id });
    hasFields(await ada.next('message:status'), { status: 'read', messageId: message._id });
  });

  test('receipts: a repeated one is acknowledged and told once; read implies delivered', async (t) => {
    const { room, ada, bob, written: [message] } = await told(t);
    for (const status of ['delivered', 'delivered', 'read', 'read', 'delivered']) {
      accepted(await bob.emitAck(`message:${status}`, { roomId: room, messageId: message._id }));
    }
    await settled(bob, room, ada);
    assert.deepEqual(ada.all('message:status').map((e) => e.status), ['delivered', 'read']);
  });

  test('receipts: upTo covers everything up to the message', async (t) => {
    const { room, ada, bob, written } = await told(t, 3);
    accepted(await bob.emitAck('message:read', { roomId: room, messageId: written[1]._id, upTo: true }));
    hasFields(await ada.next('message:status'), { messageId: written[1]._id, status: 'read', upTo: true });
    accepted(await bob.emitAck('message:read', { roomId: room, messageId: written[0]._id }));
    accepted(await bob.emitAck('message:delivered', { roomId: room, messageId: written[0]._id, upTo: true }));
    accepted(await bob.emitAck('message:read', { roomId: room, messageId: written[2]._id }));
    hasFields(await ada.next('message:status'), { messageId: written[2]._id, status: 'read' }, 'only what was new');
    assert.equal(ada.all('message:status').length, 2);
  });

  test('receipts: they are stored: what was missed comes back delivered and read', async (t) => {
    const { room, bob, claims, written } = await told(t, 3);
    accepted(await bob.emitAck('message:read', { roomId: room, messageId: written[0]._id }));
    accepted(await bob.emitAck('message:delivered', { roomId: room, messageId: written[1]._id }));
    const again = await world.user(t, claims[0]);
    again.emit('room:join', { roomId: room, since: 0 });
    const { missed } = await again.next('room:joined');
    const marks = missed.map(({ delivered, read }) => ({ delivered, read }));
    assert.deepEqual(marks, [
      { delivered: true, read: true },
      { delivered: true, read: false },
      { delivered: false, read: false },
    ]);
  });

  test('receipts: none for one\'s own message, another room\'s, or no message at all', async (t) => {
    const { room, ada, bob, written: [message] } = await told(t);
    const other = await world.room(bob.userId, ada.userId);
    await say(bob, room);
    const own = await bob.next('message:new', (m) => m.userId === bob.userId);
    const codes = ['bad_request', 'not_found', 'access_denied'];
    const wrong = [
      [{ roomId: room, messageId: own._id }, codes, 'one\'s own'],
      [{ roomId: other, messageId: message._id }, codes, 'of another room'],
      [{ roomId: room, messageId: 'f'.repeat(24) }, codes, 'that does not exist'],
      [{ roomId: room, messageId: 'nonsense' }, codes, 'that is no id'],
      [{ roomId: room, messageId: { $ne: null } }, 'bad_request', 'that is an object'],
      [{ roomId: room }, 'bad_request', 'that is not named'],
    ];
    for (const event of ['message:delivered', 'message:read']) {
      for (const [payload, allowed, what] of wrong) refusedWith(await bob.emitAck(event, payload), allowed, `${event} ${what}`);
    }
    bob.emit('message:read', { roomId: room, messageId: own._id });
    hasFields(await bob.next('error', (e) => e.event === 'message:read'), { roomId: room });
    await settled(bob, room, ada);
    assert.deepEqual(ada.all('message:status'), []);
  });

  test('receipts: nobody speaks for another', async (t) => {
    const { room, ada, bob, written: [message] } = await told(t);
    bob.emit('message:read', { roomId: room, messageId: message._id, userId: ada.userId, timestamp: '2001-01-01T00:00:00.000Z' });
    const told1 = await ada.next('message:status');
    hasFields(told1, { userId: bob.userId });
    assert.doesNotMatch(told1.timestamp, /^2001/);
  });
}

/** Contract, sections 2 and 4: every event of somebody who is not a member. */
export function access(world) {
  const { test } = world;

  test('access: whoever is no member gets access_denied for everything, and nobody hears of it', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    await say(ada, room);
    const { _id: messageId } = await bob.next('message:new');
    const mallory = world.claims('Mallory');
    const own = await world.room(mallory.userId);
    const eve = await world.user(t, mallory);
    accepted(await eve.emitAck('room:join', { roomId: own }));
    const matrix = [
      ['room:join', {}],
      ['room:join', { since: 0 }],
      ['message:send', { content: saying() }],
      ['message:send', { content: saying(), clientMsgId: 'one' }],
      ['typing:start', {}],
      ['typing:stop', {}],
      ['message:history', {}],
      ['message:history', { after: 0 }],
      ['message:delivered', { messageId }],
      ['message:read', { messageId, upTo: true }],
    ];
    for (const [event, fields] of matrix) {
      refusedWith(await eve.emitAck(event, { roomId: room, ...fields }), 'access_denied', event);
    }
    eve.emit('message:send', { roomId: room, content: saying(), tempId: 3 });
    const error = await eve.next('error', (e) => e.tempId === 3);
    hasFields(error, { code: 'access_denied', event: 'message:send', roomId: room }, 'error');
    const [barrier] = await settled(bob, room, ada);
    assert.equal(barrier.seq, 2, 'nothing of hers was stored');
    for (const event of ['user:joined', 'typing:user', 'message:status']) {
      assert.deepEqual(ada.all(event, (e) => e.userId === eve.userId), [], event);
    }
    assert.deepEqual(eve.all('message:new'), []);
    assert.equal(eve.all('room:joined').length, 1, 'her own room alone');
  });

  test('access: a room id of no sensible form opens nothing', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    const forms = [
      { $ne: null }, [room], '', 'r'.repeat(129), null, true, 1.5, `${room}\u0000`, ` ${room}`, `room:${room}`,
    ];
    for (const event of ['room:join', 'message:send', 'message:history', 'typing:start', 'message:read']) {
      for (const roomId of forms) {
        const answer = await ada.emitAck(event, { roomId, content: saying(), messageId: 'f'.repeat(24) });
        refusedWith(answer, ['bad_request', 'access_denied', 'too_large'], `${event} of ${JSON.stringify(roomId)}`);
      }
    }
  });
}
