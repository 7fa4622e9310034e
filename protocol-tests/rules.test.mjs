// Who may do what, on the wire: the rows A1 to A6, A8 and A9 of the project's list of hostile inputs, on two cores, with the
// embedded store and with the databases, over both transports. The full table of every event and every bad room id is
// walked by the unit tests of src/chat/app/rules.rs; here is its diagonal, with real members and real removals.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';

import { accepted, hasFields, refusedWith } from './lib/expect.mjs';
import { Polling, rawStatus, WebSocketByHand } from './lib/raw.mjs';
import { showingLog, startServer } from './lib/server.mjs';
import { databases } from './lib/services.mjs';
import { sign } from './lib/tokens.mjs';
import { unique } from './lib/wait.mjs';
import { say, saying, settled, World } from './lib/world.mjs';

const DENIED = { code: 'access_denied', message: 'Access denied to this room' };
const NOWHERE = '0123456789abcdef01234567';

/** Every event: what else a member would send, and the code that an outsider gets. No code: there is nothing to do. */
const IN_ROOM = {
  'room:join': { fields: {}, code: 'access_denied' },
  'room:leave': { fields: {} },
  'message:send': { fields: { content: 'said: by an outsider' }, code: 'access_denied' },
  'message:history': { fields: { limit: 200 }, code: 'access_denied' },
  'message:delivered': { fields: { messageId: NOWHERE }, code: 'access_denied' },
  'message:read': { fields: { messageId: NOWHERE, upTo: true }, code: 'access_denied' },
  'typing:start': { fields: {}, code: 'access_denied' },
  'typing:stop': { fields: {}, code: 'access_denied' },
};
const ROOMLESS = ['presence:update', 'auth:refresh'];

test('every event that the server knows is in the table', () => {
  const source = readFileSync(new URL('../src/chat/command.rs', import.meta.url), 'utf8');
  const [, list] = /client_events! \{\n([^}]+)\}/.exec(source);
  const known = [...list.matchAll(/= "([^"]+)"/g)].map(([, name]) => name);
  assert.deepEqual(known.sort(), [...Object.keys(IN_ROOM), ...ROOMLESS].sort());
});

const services = await databases();
const stores = [
  ['the embedded store', await startServer()],
  ['PostgreSQL and MongoDB', await startServer(services.env)],
];
after(async () => {
  for (const [, server] of stores) await server.stop();
  await services.stop();
});

for (const [store, server] of stores) {
  for (const mode of ['websocket', 'polling']) {
    describe(`${store}, over ${mode}`, { concurrency: 4 }, () => rules(new World(server, mode)));
  }
}

/** Sends every event that names a room; each is answered as it is to be, with an `error` beside it. */
async function tryEverything(user, roomId, expected) {
  for (const [event, { fields, code }] of Object.entries(IN_ROOM)) {
    const answer = await user.emitAck(event, { roomId, ...fields });
    const wanted = expected ?? code;
    if (wanted === undefined) {
      assert.deepEqual(answer, { ok: true }, event);
      continue;
    }
    const error = refusedWith(answer, wanted, `the ack of ${event}`);
    if (wanted === DENIED.code) assert.equal(error.message, DENIED.message, event);
    hasFields(await user.next('error', (e) => e.event === event), { code: wanted }, `error of ${event}`);
  }
}

/** What others in the room would hear of somebody. */
const TOLD = ['user:joined', 'user:left', 'typing:user', 'message:new', 'message:status'];
const heardOf = (watcher, userId) =>
  watcher.events.filter(({ event, args }) => TOLD.includes(event) && args[0].userId === userId).map(({ event }) => event);

function rules(world) {
  const check = (name, body) => test(name, showingLog(world.server, body));

  /** Four in one room, so that either core has some; each waits until the last is in. */
  async function crowd(t) {
    const party = await world.party(t, 'Ada', 'Bob', 'Cleo', 'Dan');
    await settled(party.users[0], party.room, ...party.users);
    return party;
  }

  const outsiders = {
    'a non-member': async (t) => world.user(t, world.claims('Eve')),
    'a member of another room': async (t) => (await world.party(t, 'Eve')).users[0],
    'an ex-member who was removed while in the room': async (t, room, users) => {
      const claims = world.claims('Eve');
      await world.server.members(room, claims.userId);
      const eve = await world.user(t, claims);
      accepted(await eve.emitAck('room:join', { roomId: room }));
      await settled(users[0], room, eve);
      await world.server.expel(room, claims.userId);
      hasFields(await eve.next('error'), { ...DENIED, roomId: room }, 'the news of the removal');
      await Promise.all(users.map((user) => user.next('user:left', (e) => e.userId === claims.userId)));
      return eve;
    },
  };
  for (const [who, enter] of Object.entries(outsiders)) {
    check(`A1: ${who} does nothing to a room and hears nothing of it`, async (t) => {
      const { room, users } = await crowd(t);
      const eve = await enter(t, room, users);
      const before = users.map((user) => heardOf(user, eve.userId));
      const heard = eve.all('message:new').length;
      await tryEverything(eve, room);
      await settled(users[0], room, ...users);
      assert.deepEqual(users.map((user) => heardOf(user, eve.userId)), before, 'somebody heard of it');
      assert.equal(eve.all('message:new').length, heard);
      assert.deepEqual(eve.all('message:status'), []);
    });
  }

  check('A1: a room id that is none is refused, whatever the event', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    const none = [null, true, 1.5, [], [room], {}, { $ne: 1 }, { $gt: '' }, '', `${room}\0`, `${room}\n`, 'r'.repeat(900_000)];
    for (const roomId of none) await tryEverything(ada, roomId, 'bad_request');
    await settled(bob, room, ada, bob);
    assert.deepEqual(heardOf(bob, ada.userId), []);
  });

  check('A2: neither the id of a socket nor that of a user is a room', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    for (const roomId of [bob.socket.id, ada.socket.id, bob.userId, ada.userId]) await tryEverything(ada, roomId);
    await settled(ada, room, bob);
    assert.deepEqual(heardOf(bob, ada.userId), ['message:new'], 'the barrier alone');
  });

  check('A3: who, when and what number is not for the payload to say', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    const lies = {
      userId: bob.userId, username: 'Bob', _id: NOWHERE, id: NOWHERE, seq: 99, timestamp: 1, createdAt: 1, role: 'admin',
      delivered: true, read: true,
    };
    const sent = accepted(await ada.emitAck('message:send', { ...lies, roomId: room, content: saying() }));
    assert.notEqual(sent.messageId, NOWHERE);
    const { userId, username } = ada;
    const message = await bob.next('message:new');
    hasFields(message, { userId, username, id: sent.messageId, seq: 1, delivered: false, read: false }, 'message:new');
    assert.ok(Math.abs(Date.parse(message.timestamp) - Date.now()) < 60_000, message.timestamp);
    accepted(await ada.emitAck('typing:start', { ...lies, roomId: room }));
    hasFields(await bob.next('typing:user'), { userId, username, isTyping: true }, 'typing:user');
    const receipt = { ...lies, userId, roomId: room, messageId: sent.messageId };
    accepted(await bob.emitAck('message:read', receipt));
    hasFields(await ada.next('message:status'), { userId: bob.userId, status: 'read' }, 'message:status');
  });

  check('A4: a receipt is for what others said in that very room', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    const other = await world.party(t, 'Cleo', 'Dan');
    await say(other.users[0], other.room);
    await say(bob, room);
    await say(ada, room);
    await settled(ada, room, bob);
    const elsewhere = (await other.users[1].next('message:new')).id;
    const [own, ofAda] = [bob, ada].map((user) => bob.all('message:new', (m) => m.userId === user.userId)[0]?.id);
    for (const event of ['message:delivered', 'message:read']) {
      for (const [messageId, code] of [[elsewhere, 'not_found'], [NOWHERE, 'not_found'], [own, 'bad_request']]) {
        for (const more of [{}, { upTo: true }, { userId: ada.userId }]) {
          refusedWith(await bob.emitAck(event, { roomId: room, messageId, ...more }), code, `${event} ${code}`);
        }
      }
      refusedWith(await bob.emitAck(event, { roomId: other.room, messageId: elsewhere }), 'access_denied', event);
    }
    await settled(ada, room, ada, bob);
    await settled(other.users[0], other.room, ...other.users);
    for (const user of [ada, bob, ...other.users]) assert.deepEqual(user.all('message:status'), [], user.label);
    accepted(await bob.emitAck('message:read', { roomId: room, messageId: ofAda, userId: ada.userId }));
    hasFields(await ada.next('message:status'), { userId: bob.userId, messageId: ofAda }, 'message:status');
  });

  check('A5: a clientMsgId is its user\'s own, and the first message under it stands', async (t) => {
    const { room, users: [ada, bob] } = await world.party(t, 'Ada', 'Bob');
    const clientMsgId = unique('key');
    const send = (user, fields) => user.emitAck('message:send', { roomId: room, clientMsgId, ...fields });
    const first = accepted(await send(ada, { content: saying('first') }));
    const bobs = accepted(await send(bob, { content: saying('of Bob') }));
    assert.notEqual(bobs.messageId, first.messageId);
    assert.deepEqual([first.seq, bobs.seq], [1, 2], 'the same id of another user is another message');
    const again = accepted(await send(ada, { content: saying('second') }));
    assert.deepEqual([again.messageId, again.seq], [first.messageId, first.seq], 'the first one, again');
    const claims = { userId: ada.userId, username: 'Ada' };
    const second = await world.room(claims.userId);
    const elsewhere = accepted(await send(ada, { roomId: second, content: saying('elsewhere') }));
    hasFields(elsewhere, { messageId: first.messageId, roomId: room }, 'the ack of the same id for another room');
    hasFields(accepted(await ada.emitAck('message:history', { roomId: second })), { messages: [] }, 'what that room has');
    const { messages } = accepted(await ada.emitAck('message:history', { roomId: room }));
    assert.deepEqual(messages.map((m) => [m.id, m.userId]), [[first.messageId, ada.userId], [bobs.messageId, bob.userId]]);
    await settled(ada, room, ada, bob);
    assert.deepEqual(bob.all('message:new').map((m) => m.seq), [1, 2, 3], 'each was told once');
  });

  check('A6: who is removed in the middle of a burst hears none of it a second later, nor of the past', async (t) => {
    const { room, users, claims } = await crowd(t);
    const [ada, bob, , dan] = users;
    let removed = Infinity;
    const removing = (async () => {
      await dan.next('message:new', (m) => m.seq > 20);
      await world.server.expel(room, claims[3].userId);
    })().finally(() => (removed = performance.now())); // also when that failed: the burst is to end
    let sent = 0;
    while (performance.now() < removed + 2_000) {
      await say(ada, room);
      sent += 1;
    }
    await removing;
    await settled(ada, room, bob);
    assert.ok(bob.all('message:new').length >= sent, 'the others hear all of it');
    hasFields(await dan.next('error'), { ...DENIED, roomId: room }, 'the news');
    const late = dan.events.filter(({ event, at }) => event === 'message:new' && at > removed + 1_000);
    assert.equal(late.length, 0, `${late.length} messages came more than a second later`);
    for (const [event, more] of [['room:join', { since: 0 }], ['message:history', { after: 0 }], ['room:join', {}]]) {
      refusedWith(await dan.emitAck(event, { roomId: room, ...more }), 'access_denied', event);
    }
    const back = await world.user(t, claims[3]);
    refusedWith(await back.emitAck('room:join', { roomId: room, since: 0 }), 'access_denied', 'a new connection');
    assert.deepEqual([...back.all('room:joined'), ...back.all('message:new')], []);
  });

  check('A6: what one user asked for is not given to the next one on the same connection', async (t) => {
    const { room, users: [ada, bob], claims } = await world.party(t, 'Ada', 'Bob');
    // A join, and before it is answered: away, and in again with another token.
    const mallory = world.claims('Mallory');
    const packets = [`42["room:join",${JSON.stringify({ roomId: room })}]`, '41', `40${JSON.stringify({ token: sign(mallory) })}`];
    const open = world.mode === 'websocket' ? WebSocketByHand.connected : Polling.open;
    const shared = await open(world.server, sign(claims[1]));
    t.after(() => shared.destroy?.());
    await shared.burst(packets);
    await shared.receive((packet) => packet.startsWith('40'));
    await settled(ada, room, ada, bob);
    await shared.burst(['421["presence:update",{"status":"away"}]']);
    await shared.receive((packet) => packet.startsWith('431['));
    assert.deepEqual(shared.waiting().filter((packet) => packet.startsWith('42["message:new"')), []);
    assert.deepEqual(heardOf(ada, mallory.userId), []);
  });

  check('A8: a room that is closed and one that does not exist look alike', async (t) => {
    const { room } = await world.party(t, 'Ada');
    const eve = await world.user(t, world.claims('Eve'));
    const nowhere = unique('nowhere');
    for (const [event, { fields }] of Object.entries(IN_ROOM)) {
      const answers = [];
      for (const roomId of [room, nowhere]) {
        const answer = await eve.emitAck(event, { roomId, ...fields });
        const error = answer.ok ? {} : await eve.next('error', (e) => e.event === event);
        answers.push({ answer, error: { ...error, roomId: error.roomId === roomId ? 'the one asked for' : error.roomId } });
      }
      assert.deepEqual(answers[0], answers[1], event);
    }
  });
}

describe('A9: whatever names are in it, the log has one event a line', () => {
  // Eve makes a line of her own, in every way that something breaks lines or moves a cursor.
  const forgery = 'eve\u2028ERROR\u2029ERROR\u0085\u202eERROR';
  const worse = `${forgery}\nERROR\r\nERROR\rERROR\x1b[2J\x1b[31mERROR\0\v\f\x07`;

  for (const [environment, isLine] of [
    ['production', (line) => typeof JSON.parse(line).level === 'string'],
    ['test', (line) => /^\S+Z +(ERROR|WARN|INFO|DEBUG) alt_ws/.test(line)],
  ]) {
    test(environment, async (t) => {
      const server = await startServer({ NODE_ENV: environment, OPEN_ROOMS: 'true' });
      t.after(() => server.signal('SIGKILL'));
      const world = new World(server, 'websocket');
      const eve = await world.user(t, { userId: `eve${forgery.replace('\u0085', '')}`, username: 'Eve\u2028ERROR' });
      for (const roomId of ['room\u2028ERROR', worse, forgery]) await eve.emitAck('room:join', { roomId });
      for (const event of [worse, forgery]) refusedWith(await eve.emitAck(event, { roomId: worse }), 'bad_request');
      await eve.emitAck('message:send', { roomId: 'room\u2028ERROR', content: worse, clientMsgId: worse, tempId: worse });
      const token = sign({ userId: 'mallory', username: forgery.replace('\u0085', '') });
      for (const packet of [worse, `40/${worse},{}`, `42${worse}`, `42["${worse}"]`, `5${worse}`, `40${JSON.stringify({ token: worse })}`]) {
        const ws = await WebSocketByHand.connected(server, token);
        ws.text(packet);
        ws.close();
        await ws.ended();
      }
      const raw = Buffer.from(forgery).toString('latin1');
      for (const head of [
        `GET /socket.io/?EIO=4&transport=polling&sid=${encodeURIComponent(worse)} HTTP/1.1\r\nUser-Agent: ${raw}`,
        `GET /${encodeURIComponent(worse)} HTTP/1.1\r\nUser-Agent: ${raw}\r\nX-Forwarded-For: ${raw}`,
        `GET / HTTP/1.1\r\nUser-Agent: a\x1b[31m\x07\x0b\r\nAuthorization: Bearer ${raw}`,
        `GET /${raw} HTTP/1.1\r\nOrigin: ${raw}`,
        `${raw}\r\n${raw}`,
      ]) {
        await rawStatus(server, Buffer.from(`${head}\r\nHost: x\r\nConnection: close\r\n\r\n`, 'latin1'));
      }
      await server.stop();
      const lines = server.log.trimEnd().split(/[\n\r\v\f\u0085\u2028\u2029]/);
      assert.ok(lines.length > 10, server.log);
      for (const line of lines) assert.ok(isLine(line), JSON.stringify(line));
      assert.doesNotMatch(server.log, /[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]/);
    });
  }
});
