// Contract, sections 2 and 3: rooms, who is in them, and what one who enters is told.

import assert from 'node:assert/strict';

import { accepted, gapless, hasFields, ISO, MESSAGE_ID, refusedWith } from '../lib/expect.mjs';
import { uniqueNumber } from '../lib/wait.mjs';
import { everythingSince, say, saying, settled } from '../lib/world.mjs';

const DENIED = 'Access denied to this room';

export function rooms(world) {
  const { test } = world;

  test('room:join: room:joined to the caller, user:joined to the others', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    hasFields(await bob.next('room:joined'), { roomId: room, timestamp: ISO, seq: 0, unread: 0 }, 'room:joined');
    const { userId, username } = bob;
    hasFields(await ada.next('user:joined'), { userId, username, roomId: room, timestamp: ISO }, 'user:joined');
    await settled(ada, room, ada, bob);
    assert.deepEqual(bob.all('user:joined'), [], 'nobody joined after Bob, and he is not told of himself');
    assert.equal(ada.all('room:joined').length, 1, 'room:joined went to the caller alone');
  });

  test('room:join: without an ack the event comes all the same', async (t) => {
    const ada = world.claims('Ada');
    const room = await world.room(ada.userId);
    const user = await world.user(t, ada);
    user.emit('room:join', { roomId: room });
    hasFields(await user.next('room:joined'), { roomId: room, timestamp: ISO });
  });

  test('room:join: who is no member is refused, with and without an ack', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    const eve = await world.user(t, world.claims('Eve'));
    const event = { message: DENIED, code: 'access_denied', event: 'room:join', roomId: room };
    eve.emit('room:join', { roomId: room });
    hasFields(await eve.next('error'), event, 'error');
    const error = refusedWith(await eve.emitAck('room:join', { roomId: room }), 'access_denied');
    assert.equal(error.message, DENIED);
    hasFields(await eve.next('error'), event, 'error beside the ack');
    await settled(ada, room, ada);
    assert.deepEqual(ada.all('user:joined'), []);
    assert.deepEqual(eve.all('message:new'), []);
    assert.deepEqual(eve.all('room:joined'), []);
  });

  test('room:join: a conversation that nobody made is closed in production', async (t) => {
    const user = await world.user(t, world.claims('Ada'));
    for (const roomId of ['no such room', 987654321, user.socket.id]) {
      refusedWith(await user.emitAck('room:join', { roomId }), 'access_denied', `join of ${roomId}`);
      hasFields(await user.next('error'), { roomId, code: 'access_denied' }, 'error');
    }
  });

  test('room:leave: user:left to the others, and the leaver hears no more', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    accepted(await bob.emitAck('room:leave', { roomId: room }));
    const { userId, username } = bob;
    hasFields(await ada.next('user:left'), { userId, username, roomId: room, timestamp: ISO }, 'user:left');
    await settled(ada, room, ada);
    accepted(await bob.emitAck('message:send', { roomId: room, content: saying('from outside') }));
    await ada.next('message:new');
    assert.deepEqual(bob.all('message:new'), [], 'Bob is a member, but not in the room');
    assert.deepEqual(bob.all('user:left'), []);
    accepted(await bob.emitAck('room:join', { roomId: room }));
    await settled(ada, room, bob);
  });

  test('room:joined: who is online, with name and status', async (t) => {
    const { room, users: [ada, bob], claims } = await world.party(t, 'Ada', 'Bob');
    accepted(await bob.emitAck('presence:update', { status: 'away' }));
    await ada.next('presence:changed', (e) => e.userId === bob.userId && e.status === 'away');
    const second = await world.user(t, claims[0]);
    second.emit('room:join', { roomId: room });
    const { online, onlineCount } = await second.next('room:joined');
    const byId = Object.fromEntries(online.map((u) => [u.userId, u]));
    hasFields(byId[ada.userId], { userId: ada.userId, username: 'Ada', status: 'online' }, 'Ada');
    hasFields(byId[bob.userId], { userId: bob.userId, username: 'Bob', status: 'away' }, 'Bob');
    assert.equal(online.length, 2, 'users, not devices');
    assert.equal(onlineCount, 2);
  });

  test('room:joined: seq is the latest, unread counts what others wrote and one has not read', async (t) => {
    const { room, users: [ada, bob], claims } = await world.party(t, 'Ada', 'Bob');
    for (let i = 0; i < 3; i++) await say(ada, room);
    const written = await bob.collect('message:new', 3);
    const enter = async (who) => {
      const device = await world.user(t, who);
      device.emit('room:join', { roomId: room });
      return device.next('room:joined');
    };
    hasFields(await enter(claims[0]), { seq: 3, unread: 0 }, 'room:joined of the author');
    hasFields(await enter(claims[1]), { seq: 3, unread: 3 }, 'room:joined of the reader');
    accepted(await bob.emitAck('message:read', { roomId: room, messageId: written[1]._id, upTo: true }));
    hasFields(await enter(claims[1]), { seq: 3, unread: 1 }, 'room:joined after reading up to the second');
  });

  test('room:joined: since brings what was missed, and only then', async (t) => {
    const { room, users: [ada], claims } = await world.party(t, 'Ada');
    assert.ok(!('missed' in (await ada.next('room:joined'))), 'missed without since');
    const attachments = [{ url: 'https://files.example/1', name: 'a.png', size: 3 }];
    await say(ada, room);
    const content = await say(ada, room, saying(), { clientMsgId: 'second', attachments, type: 'image' });
    await say(ada, room);
    const back = await world.user(t, claims[0]);
    back.emit('room:join', { roomId: room, since: 1 });
    const joined = await back.next('room:joined');
    hasFields(joined, { seq: 3, missedComplete: true });
    gapless(joined.missed, 2);
    assert.equal(joined.missed.length, 2);
    const { userId, username } = ada;
    const expected = {
      _id: MESSAGE_ID, id: MESSAGE_ID, conversationId: room, userId, username, content, type: 'image', attachments,
      timestamp: ISO, seq: 2, clientMsgId: 'second',
    };
    hasFields(joined.missed[0], expected, 'a missed message');
    assert.equal(joined.missed[0].id, joined.missed[0]._id);
    const first = ada.all('message:new').find((m) => m.seq === 2);
    hasFields(joined.missed[0], { _id: first._id, timestamp: first.timestamp }, 'the same message, missed');
    back.emit('room:join', { roomId: room, since: 3 });
    hasFields(await back.next('room:joined'), { seq: 3, missed: [], missedComplete: true });
  });

  test('room:joined: a long absence is caught up with, page by page, without a gap', async (t) => {
    const { room, users: [ada], claims } = await world.party(t, 'Ada');
    const contents = Array.from({ length: 230 }, () => saying());
    await Promise.all(contents.map((content) => say(ada, room, content)));
    const back = await world.user(t, claims[0]);
    const { messages, joined } = await everythingSince(back, room, 0);
    gapless(messages);
    assert.deepEqual(messages.map((m) => m.content), contents);
    assert.equal(joined.seq, 230);
  });

  test('rooms: 5 and "5" are one room, and each event has the form its sender used', async (t) => {
    const [a, b] = [world.claims('Ada'), world.claims('Bob')];
    const number = uniqueNumber();
    const text = String(number);
    await world.server.members(number, a.userId, b.userId);
    const [ada, bob] = [await world.user(t, a), await world.user(t, b)];
    ada.emit('room:join', { roomId: number });
    hasFields(await ada.next('room:joined'), { roomId: number }, 'room:joined');
    bob.emit('room:join', { roomId: text });
    hasFields(await bob.next('room:joined'), { roomId: text }, 'room:joined');
    hasFields(await ada.next('user:joined'), { roomId: text }, 'user:joined');
    await say(ada, number);
    const sent = await bob.next('message:new');
    hasFields(sent, { conversationId: number, seq: 1 }, 'message:new');
    hasFields(await ada.next('message:ack'), { roomId: number }, 'message:ack');
    await say(bob, text);
    hasFields(await ada.next('message:new', (m) => m.seq === 2), { conversationId: text }, 'message:new');
    bob.emit('typing:start', { roomId: text });
    hasFields(await ada.next('typing:user'), { roomId: text }, 'typing:user');
    bob.emit('message:read', { roomId: text, messageId: sent._id });
    hasFields(await ada.next('message:status'), { roomId: text }, 'message:status');
    bob.emit('room:leave', { roomId: text });
    hasFields(await ada.next('user:left'), { roomId: text }, 'user:left');
  });

  test('rooms: conversationId is a synonym of roomId in every event', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    const bobs = world.claims('Bob');
    await world.server.members(room, bobs.userId);
    const bob = await world.user(t, bobs);
    const conversationId = room;
    bob.emit('room:join', { conversationId });
    hasFields(await bob.next('room:joined'), { roomId: room });
    await say(ada, room);
    const { _id: messageId } = await bob.next('message:new');
    accepted(await bob.emitAck('typing:start', { conversationId }), 'typing:start');
    await ada.next('typing:user', (e) => e.isTyping);
    accepted(await bob.emitAck('typing:stop', { conversationId }), 'typing:stop');
    await ada.next('typing:user', (e) => !e.isTyping);
    for (const status of ['delivered', 'read']) {
      accepted(await bob.emitAck(`message:${status}`, { conversationId, messageId }), status);
      hasFields(await ada.next('message:status'), { status, messageId });
    }
    const content = saying();
    accepted(await bob.emitAck('message:send', { conversationId, content }), 'message:send');
    hasFields(await ada.next('message:new', (m) => m.content === content), { conversationId: room });
    accepted(await bob.emitAck('room:leave', { conversationId }), 'room:leave');
    hasFields(await ada.next('user:left'), { userId: bob.userId, roomId: room });
  });

  test('rooms: where both names are given, roomId wins', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    const elsewhere = await world.room(ada.userId);
    await say(ada, room, saying(), { conversationId: elsewhere });
    hasFields(await ada.next('message:new'), { conversationId: room });
    ada.emit('room:join', { conversationId: room, roomId: elsewhere });
    await ada.next('room:joined', (e) => e.roomId === elsewhere);
  });
}
