// Contract, sections 2 to 4: what is sent is stored once, numbered, and seen by all in the same order.

import assert from 'node:assert/strict';

import { accepted, gapless, hasFields, ISO, MESSAGE_ID, refusedWith } from '../lib/expect.mjs';
import { say, saying, settled } from '../lib/world.mjs';

export function messages(world) {
  const { test } = world;

  test('message:send: message:new to all with every field, then message:ack to the sender', async (t) => {
    const { room, users: [ada, bob], claims } = await world.party(t, 'Ada', 'Bob');
    const tablet = await world.user(t, claims[0]);
    accepted(await tablet.emitAck('room:join', { roomId: room }));
    const content = saying();
    const answer = accepted(
      await ada.emitAck('message:send', { roomId: room, content, tempId: 'temp-1', clientMsgId: 'first' }),
    );
    const expected = {
      _id: MESSAGE_ID, id: MESSAGE_ID, conversationId: room, userId: ada.userId, username: 'Ada', content,
      type: 'text', attachments: [], timestamp: ISO, delivered: false, read: false, seq: 1, tempId: 'temp-1',
      clientMsgId: 'first',
    };
    const copies = await Promise.all([ada, tablet, bob].map((c) => c.next('message:new')));
    for (const copy of copies) {
      hasFields(copy, expected, 'message:new');
      assert.equal(copy.id, copy._id);
      assert.deepEqual(copy, copies[0], 'everybody sees the same');
    }
    const ack = await ada.next('message:ack');
    const { _id: messageId, timestamp } = copies[0];
    const echo = { tempId: 'temp-1', messageId, timestamp, seq: 1, clientMsgId: 'first', roomId: room };
    hasFields(ack, echo, 'message:ack');
    hasFields(answer, { messageId, seq: 1 }, 'the callback');
    const order = ada.events.map((e) => e.event);
    assert.ok(order.indexOf('message:new') < order.indexOf('message:ack'), `message:new comes first: ${order}`);
    await settled(bob, room, bob);
    assert.deepEqual(bob.all('message:ack', (e) => e.messageId === messageId), [], 'the ack is for the sender');
  });

  test('message:send: without an ack callback message:ack comes all the same', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    ada.emit('message:send', { roomId: room, content: saying(), tempId: 7 });
    const { _id } = await ada.next('message:new', (m) => m.tempId === 7);
    hasFields(await ada.next('message:ack'), { tempId: 7, messageId: _id, timestamp: ISO, seq: 1 });
  });

  test('message:send: tempId and clientMsgId are absent where they were not given', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    await say(ada, room);
    const message = await ada.next('message:new');
    assert.ok(!('tempId' in message) && !('clientMsgId' in message), JSON.stringify(message));
  });

  test('message:send: what names the author, the time or the id is ignored', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    const forged = {
      userId: bob.userId, username: 'Bob', _id: '0'.repeat(24), id: '0'.repeat(24), seq: 99, delivered: true, read: true,
      timestamp: '2001-01-01T00:00:00.000Z', createdAt: '2001-01-01T00:00:00.000Z', sender: bob.userId,
    };
    const before = Date.now();
    await say(ada, room, saying(), forged);
    const message = await bob.next('message:new');
    hasFields(message, { userId: ada.userId, username: 'Ada', seq: 1, delivered: false, read: false });
    assert.notEqual(message._id, forged._id);
    assert.equal(message.id, message._id);
    assert.ok(Math.abs(Date.parse(message.timestamp) - before) < 60_000, message.timestamp);
  });

  test('message:send: the same clientMsgId is stored once and answered the same', async (t) => {
    const { room, users: [ada, bob], claims } = await world.party(t, 'Ada', 'Bob');
    const phone = await world.user(t, claims[0]);
    const clientMsgId = 'x'.repeat(64);
    const payload = { roomId: room, content: saying(), clientMsgId, tempId: 1 };
    const together = await Promise.all([
      ada.emitAck('message:send', payload),
      ada.emitAck('message:send', payload),
      phone.emitAck('message:send', payload),
    ]);
    const changed = await phone.emitAck('message:send', { ...payload, content: saying('something else') });
    const acks = await ada.collect('message:ack', 2);
    acks.push(...(await phone.collect('message:ack', 2)));
    await settled(bob, room, bob, ada);
    const [stored, ...rest] = bob.all('message:new', (m) => m.clientMsgId === clientMsgId);
    assert.deepEqual(rest, [], 'broadcast once');
    assert.equal(stored.content, payload.content, 'the first one counts');
    const { _id: messageId, seq, timestamp } = stored;
    for (const answer of [...together, changed]) hasFields(accepted(answer), { messageId, seq });
    for (const ack of acks) hasFields(ack, { messageId, seq, timestamp, clientMsgId }, 'message:ack');
    assert.equal(bob.all('message:new').at(-1).seq, seq + 1, 'no seq was spent on the repeats');
  });

  test('message:send: the same clientMsgId of another user is another message', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    const contents = [await say(ada, room, saying(), { clientMsgId: 'one' }), await say(bob, room, saying(), { clientMsgId: 'one' })];
    assert.deepEqual((await ada.collect('message:new', 2)).map((m) => m.content), contents);
  });

  test('message:send: several senders at once make one gapless order, the same for every socket', async (t) => {
    const { room, users, claims } = await world.party(t, 'Ada', 'Bob', 'Cy');
    const watcher = await world.user(t, claims[0]);
    accepted(await watcher.emitAck('room:join', { roomId: room }));
    const turns = Array.from({ length: 12 }, (_, i) => i);
    await Promise.all(users.flatMap((user) => turns.map((i) => say(user, room, saying(), { tempId: i }))));
    const expected = await watcher.collect('message:new', 36);
    gapless(expected);
    for (const user of users) {
      assert.deepEqual(await user.collect('message:new', 36), expected);
      const own = expected.filter((m) => m.userId === user.userId);
      assert.deepEqual(own.map((m) => m.tempId), turns, 'each sender\'s messages keep their order');
    }
  });

  test('message:send: attachments stay as they were given', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    const attachments = [
      { url: 'https://files.example/ä.png', name: 'ä "quoted".png', size: 12345, mimeType: 'image/png' },
      { url: '/x', nested: { deep: [1, 2.5, null, true, 'é\u2028'] }, size: 0 },
      ...Array.from({ length: 8 }, (_, i) => ({ name: `file ${i}`, note: 'n'.repeat(3_900) })),
    ];
    await say(ada, room, saying(), { attachments, type: 'file' });
    hasFields(await bob.next('message:new'), { attachments, type: 'file' });
  });

  test('message:send: S14: what a store might take for its own language comes back as it was', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    const attachments = [{ $where: 'sleep(9)', 'a.b': 1, $ne: null, '': 2, nested: { $set: { 'x.$[].y': '%' }, _id: 'mine' } }];
    const content = saying("'; DROP TABLE messages; -- $where {$gt: ''}");
    await say(ada, room, content, { attachments, clientMsgId: '$ne' });
    hasFields(await bob.next('message:new'), { content, attachments, clientMsgId: '$ne' });
    const { messages } = accepted(await bob.emitAck('message:history', { roomId: room }));
    hasFields(messages[0], { content, attachments, clientMsgId: '$ne' }, 'the stored message');
  });

  test('message:send: content that is anything but text of its length', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    const attachments = [{ url: 'https://files.example/1' }];
    const good = [
      { content: 'x'.repeat(65_536) },
      { content: 'é'.repeat(32_768) },
      { content: '<b>&\u2028"\\ 👩‍🚀' },
      { content: '', attachments },
      { content: saying(), type: 'a-b_c.9' },
      { content: saying(), type: 't'.repeat(32) },
    ];
    const many = Array.from({ length: 11 }, () => attachments[0]);
    const size = ['too_large', 'bad_request'];
    const bad = [
      [{ content: 'x'.repeat(65_537) }, size],
      [{ content: 'é'.repeat(32_769) }, size],
      [{ content: '' }, 'bad_request'],
      [{ content: '', attachments: [] }, 'bad_request'],
      [{}, 'bad_request'],
      [{ content: 5 }, 'bad_request'],
      [{ content: null }, 'bad_request'],
      [{ content: { $ne: null } }, 'bad_request'],
      [{ content: 'x', attachments: many }, size],
      [{ content: 'x', attachments: [{ note: 'n'.repeat(5_000) }] }, size],
      [{ content: 'x', attachments: ['text'] }, 'bad_request'],
      [{ content: 'x', attachments: {} }, 'bad_request'],
      [{ content: 'x', type: 'TEXT' }, 'bad_request'],
      [{ content: 'x', type: '' }, 'bad_request'],
      [{ content: 'x', type: 't'.repeat(33) }, 'bad_request'],
      [{ content: 'x', type: 5 }, 'bad_request'],
      [{ content: 'x', clientMsgId: '' }, 'bad_request'],
      [{ content: 'x', clientMsgId: 'c'.repeat(65) }, 'bad_request'],
      [{ content: 'x', clientMsgId: 5 }, 'bad_request'],
    ];
    for (const [fields, codes] of bad) {
      const shown = JSON.stringify(fields).slice(0, 80);
      refusedWith(await ada.emitAck('message:send', { roomId: room, ...fields }), codes, shown);
    }
    for (const fields of good) accepted(await ada.emitAck('message:send', { roomId: room, ...fields }));
    const seen = await bob.collect('message:new', good.length);
    gapless(seen);
    seen.forEach((message, i) => hasFields(message, { attachments: [], type: 'text', ...good[i] }));
  });

  test('message:send: a refusal without a callback is an error event that names what it is about', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    ada.emit('message:send', { roomId: room, content: 5, tempId: 'temp-9', clientMsgId: 'nine' });
    const error = await ada.next('error');
    const expected = { code: 'bad_request', event: 'message:send', roomId: room, tempId: 'temp-9', clientMsgId: 'nine' };
    hasFields(error, { ...expected, message: /./ }, 'error');
  });
}
