// Contract, section 2: message:history, a room's messages page by page.

import assert from 'node:assert/strict';

import { accepted, gapless, hasFields, refusedWith } from '../lib/expect.mjs';
import { say, saying, settled } from '../lib/world.mjs';

/** Stores `count` messages, sent together and so kept in their order. */
async function fill(user, room, count) {
  await Promise.all(Array.from({ length: count }, () => say(user, room)));
}

const ask = async (user, roomId, fields = {}) => accepted(await user.emitAck('message:history', { roomId, ...fields }));

const seqs = (page) => page.messages.map((m) => m.seq);

const range = (first, last) => Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);

export function history(world) {
  const { test } = world;

  test('message:history: messages with every field, also to a member who has not joined', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    const attachments = [{ url: 'https://files.example/1', size: 1.5 }];
    await say(ada, room, saying('first'), { clientMsgId: 'one', tempId: 7, attachments });
    const sent = await bob.next('message:new');
    accepted(await bob.emitAck('message:read', { roomId: room, messageId: sent._id }));
    const cy = world.claims('Cy');
    await world.server.members(room, cy.userId);
    const reader = await world.user(t, cy);
    const { tempId, ...stored } = sent;
    assert.equal(tempId, 7);
    const expected = { ok: true, roomId: room, messages: [{ ...stored, delivered: true, read: true }], hasMore: false };
    assert.deepEqual(await ask(reader, room), expected, 'as message:new, without what is not stored');
    assert.deepEqual(await reader.emitAck('message:history', { conversationId: room }), expected);
    assert.deepEqual(reader.events.map((e) => e.event), ['connect'], 'the acknowledgement is all there is');
  });

  test('message:history: 120 messages in pages, backwards by 50 and forwards by 48', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    await fill(ada, room, 120);
    const back = [await ask(ada, room)];
    while (back[0].hasMore) back.unshift(await ask(ada, room, { before: back[0].messages[0].seq }));
    assert.deepEqual(back.map((page) => page.messages.length), [20, 50, 50], 'without a limit it is 50');
    const all = back.flatMap((page) => page.messages);
    assert.equal(all.length, 120);
    gapless(all);
    assert.deepEqual(all, ada.all('message:new'), 'what was broadcast is what is kept');
    const on = [await ask(ada, room, { after: 0, limit: 48 })];
    while (on.at(-1).hasMore) on.push(await ask(ada, room, { after: on.at(-1).messages.at(-1).seq, limit: 48 }));
    assert.deepEqual(on.map((page) => page.messages.length), [48, 48, 24]);
    assert.deepEqual(on.flatMap((page) => page.messages), all);
  });

  test('message:history: before, after and limit, and whether there is more', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    assert.deepEqual(await ask(ada, room), { ok: true, roomId: room, messages: [], hasMore: false });
    await fill(ada, room, 12);
    const cases = [
      [{}, range(1, 12), false],
      [{ limit: 12 }, range(1, 12), false],
      [{ limit: 11 }, range(2, 12), true],
      [{ limit: 1 }, [12], true],
      [{ limit: 200, before: null, after: null }, range(1, 12), false],
      [{ before: 5 }, range(1, 4), false],
      [{ before: 5, limit: 3 }, range(2, 4), true],
      [{ before: 1 }, [], false],
      [{ before: -4 }, [], false],
      [{ before: Number.MAX_SAFE_INTEGER, limit: 2 }, [11, 12], true],
      [{ after: 9 }, range(10, 12), false],
      [{ after: 9, limit: 2 }, [10, 11], true],
      [{ after: -1, limit: 2 }, [1, 2], true],
      [{ after: Number.MIN_SAFE_INTEGER, limit: 1 }, [1], true],
      [{ after: 12 }, [], false],
      [{ after: 3, before: 7 }, [4, 5, 6], false],
      [{ after: 3, before: 7, limit: 2 }, [4, 5], true],
      [{ after: 6, before: 7 }, [], false],
      [{ after: 7, before: 3 }, [], false],
    ];
    for (const [fields, expected, hasMore] of cases) {
      const page = await ask(ada, room, fields);
      assert.deepEqual([seqs(page), page.hasMore], [expected, hasMore], JSON.stringify(fields));
    }
  });

  test('message:history: a page of big messages stays within 192 KB', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    const big = 'x'.repeat(65_000);
    for (let i = 0; i < 10; i += 1) await say(ada, room, big);
    const newest = await ask(ada, room);
    assert.deepEqual([seqs(newest), newest.hasMore], [range(8, 10), true]);
    const rest = await ask(ada, room, { before: 3, limit: 200 });
    assert.deepEqual([seqs(rest), rest.hasMore], [[1, 2], false]);
  });

  test('many long answers at once: pages and joins with `since` all come, one after the other', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    // The worst that JSON makes of a text: every byte becomes six.
    const big = '\u0001'.repeat(30_000);
    for (let i = 0; i < 6; i += 1) await say(ada, room, big);
    ada.patience *= 4; // the last of them waits for all the others
    const joins = Array.from({ length: 8 }, () => ada.emitAck('room:join', { roomId: room, since: 0 }));
    const pages = Array.from({ length: 8 }, () => ask(ada, room));
    for (const joined of await Promise.all(joins)) {
      assert.deepEqual([joined.missed.map((m) => m.seq), joined.missedComplete], [[1], false]);
    }
    for (const page of await Promise.all(pages)) assert.deepEqual([seqs(page), page.hasMore], [[6], true]);
    assert.ok(ada.socket.connected, 'not cut off as too slow');
  });

  test('message:history: who is no member is refused, also in a conversation that does not exist', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    await say(ada, room);
    const eve = await world.user(t, world.claims('Eve'));
    for (const roomId of [room, `${room}-of-nobody`]) {
      const answer = await eve.emitAck('message:history', { roomId });
      assert.equal(refusedWith(answer, 'access_denied').message, 'Access denied to this room');
      assert.ok(!('messages' in answer), JSON.stringify(answer));
      hasFields(await eve.next('error'), { code: 'access_denied', event: 'message:history', roomId }, 'error');
    }
  });

  test('message:history: without a callback there is an error, and the connection goes on', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    ada.emit('message:history', { roomId: room });
    const message = 'message:history needs an acknowledgement callback';
    hasFields(await ada.next('error'), { code: 'bad_request', event: 'message:history', roomId: room, message }, 'error');
    await settled(ada, room, ada);
    assert.deepEqual(seqs(await ask(ada, room)), [1]);
  });

  test('message:history: a bound or a limit that is no whole number of its range', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    const wrong = ['5', 1.5, true, [], {}, { $gt: 0 }];
    for (const [field, values] of [
      ['before', wrong],
      ['after', wrong],
      ['limit', [...wrong, 0, -1, 201, Number.MAX_SAFE_INTEGER]],
    ]) {
      for (const value of values) {
        const answer = await ada.emitAck('message:history', { roomId: room, [field]: value });
        const { message } = refusedWith(answer, 'bad_request', `${field} ${JSON.stringify(value)}`);
        assert.match(message, new RegExp(`^${field} must be `));
      }
    }
  });

  test('message:history: a bound beyond every integer', async (t) => {
    const { room, users: [ada] } = await world.party(t, 'Ada');
    for (const field of ['before', 'after', 'limit']) {
      refusedWith(await ada.emitAck('message:history', { roomId: room, [field]: 1e300 }), 'bad_request', field);
    }
  });
}
