// Bytes that no well-behaved client sends, each with its verdict; after each, two well-behaved clients still chat.
// The ids (E1, S4 …) are those of the project's list of hostile inputs: E is Engine.IO over HTTP, S is Socket.IO packets.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';

import { connect } from './lib/client.mjs';
import { accepted } from './lib/expect.mjs';
import { askForWebSocket, http } from './lib/http.mjs';
import { Polling, rawStatus, SEPARATOR, Tcp, WebSocketByHand } from './lib/raw.mjs';
import { showingLog, startServer } from './lib/server.mjs';
import { sign } from './lib/tokens.mjs';
import { brief, unique } from './lib/wait.mjs';
import { say, saying } from './lib/world.mjs';

const server = await startServer({ CORS_ORIGIN: 'https://app.example.com' });
const outlaw = { userId: 'mallory', username: 'Mallory' };
const token = sign(outlaw);
const HANDSHAKE = '/socket.io/?EIO=4&transport=polling';

// The well-behaved ones, over both transports, for the whole run.
const forAll = { after };
const room = unique('peace');
await server.members(room, 'ada', 'bob', outlaw.userId);
const [ada, bob] = await Promise.all(
  [['ada', 'websocket'], ['bob', 'polling']].map(([userId, mode]) =>
    connect(forAll, server, { mode, claims: { userId, username: userId } }),
  ),
);
for (const user of [ada, bob]) accepted(await user.emitAck('room:join', { roomId: room }));
after(() => server.stop());

/** Both still receive what the other says, and the server's process lives. */
async function stillChatting() {
  for (const [from, to] of [[ada, bob], [bob, ada]]) {
    const content = await say(from, room);
    await to.next('message:new', (m) => m.content === content);
  }
  assert.ok(server.running, 'the server ended');
}

/** A test that ends with both of them still chatting. */
const hostile = (name, body) =>
  test(name, showingLog(server, async (t) => {
    await body(t);
    await stillChatting();
  }));

const isRefusal = (status) => status >= 400 && status < 500;

describe('Engine.IO over HTTP', () => {
  hostile('E1: a binary post is answered 400, and the answer ends, every time', async () => {
    for (let i = 0; i < 100; i++) {
      const session = await Polling.open(server);
      const { status } = await session.post('4x', { 'Content-Type': 'application/octet-stream' });
      assert.equal(status, 400);
    }
  });

  const post = (sid, headers) =>
    `POST ${HANDSHAKE}&sid=${sid} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n${headers}\r\n\r\n`;

  hostile('E2: a body declared too long is refused before it comes', async () => {
    for (const length of ['1000001', '99999999999']) {
      const { sid } = await Polling.open(server);
      assert.equal(await rawStatus(server, `${post(sid, `Content-Length: ${length}`)}4`), 413, length);
    }
  });

  hostile('E2: a chunked body is refused once it is too long', async () => {
    const { sid } = await Polling.open(server);
    const tcp = await Tcp.open(server.port);
    tcp.write(post(sid, 'Transfer-Encoding: chunked'));
    for (let i = 0; i < 11; i++) tcp.write(`186a0\r\n${'4'.repeat(100_000)}\r\n`);
    assert.equal(await tcp.status('the refusal of an endless body'), 413);
    tcp.destroy();
  });

  hostile('E2: a compressed body is refused', async () => {
    const { sid } = await Polling.open(server);
    assert.equal(await rawStatus(server, `${post(sid, 'Content-Encoding: gzip\r\nContent-Length: 20')}${'x'.repeat(20)}`), 415);
  });

  for (const [what, unit] of [['4x<RS>', `4x${SEPARATOR}`], ['<RS>', SEPARATOR], ['2<RS>', `2${SEPARATOR}`]]) {
    hostile(`E3: a megabyte of ${what} is refused without ado`, async () => {
      const session = await Polling.open(server, token);
      const started = performance.now();
      const { status } = await session.post(unit.repeat(Math.floor(990_000 / unit.length)));
      assert.ok(isRefusal(status), String(status));
      assert.ok(performance.now() - started < 3_000, `it took ${performance.now() - started} ms`);
    });
  }

  const queries = [
    ['EIO=4&transport=__proto__', 0],
    ['EIO=4&transport=constructor', 0],
    ['EIO=4&transport=webtransport', 0],
    ['EIO=4&transport=', 0],
    ['EIO=4', 0],
    ['EIO=4&transport=polling&transport=websocket'],
    ['EIO=3&transport=polling', 5],
    ['EIO=5&transport=polling', 5],
    ['EIO=%204&transport=polling', 5],
    ['transport=polling'],
    ['EIO=4&transport=polling&sid=__proto__', 1],
    ['EIO=4&transport=polling&sid=constructor', 1],
    ['EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA', 1],
    ['EIO=4&transport=polling&sid=%00', 1],
    ['EIO=4&transport=polling&sid=%zz'],
    ['EIO=4&transport=polling&sid=%C3%A9', 1],
  ];
  hostile('E4: a bad query is 400 with a code that says why', async () => {
    for (const [query, code] of queries) {
      const { status, text } = await http(server, `/socket.io/?${query}`);
      assert.equal(status, 400, query);
      const error = JSON.parse(text);
      assert.ok(code === undefined ? [0, 1, 3, 5].includes(error.code) : error.code === code, `${query}: ${text}`);
      assert.equal(typeof error.message, 'string');
      assert.ok(!text.includes('__proto__'), 'the answer echoes the query');
    }
  });

  hostile('E4: an upgrade with a bad query is refused', async () => {
    for (const query of ['&sid=__proto__', '&sid=AAAAAAAAAAAAAAAAAAAA', '&sid=%00']) {
      assert.equal((await askForWebSocket(server, { query })).status, 400, query);
    }
  });

  hostile('E4: raw bytes and a megabyte in the query are refused', async () => {
    const get = (sid) => Buffer.concat([Buffer.from(`GET ${HANDSHAKE}&sid=`), sid, Buffer.from(' HTTP/1.1\r\nHost: x\r\n\r\n')]);
    assert.equal(await rawStatus(server, get(Buffer.from([0xc3, 0x28, 0xff]))), 400);
    const long = await rawStatus(server, get(Buffer.alloc(1_000_000, 'A')));
    assert.ok(long === 0 || isRefusal(long), `closed or refused: ${long}`);
  });

  hostile('E5: a second poll beside the first closes the session', async () => {
    const session = await Polling.open(server, token);
    // Two connections, two cores: either may be the second.
    const answers = await Promise.all([session.poll(), session.poll()]);
    assert.deepEqual(answers.map((answer) => answer.status).sort(), [200, 400]);
    await session.ended();
  });

  hostile('E5: a second post beside the first closes the session', async () => {
    const session = await Polling.open(server, token);
    const half = await Tcp.open(server.port);
    half.write(`${post(session.sid, 'Content-Length: 10')}42`);
    const second = await session.post('42["typing:stop",{"roomId":"x"}]');
    assert.equal(second.status, 400);
    await session.ended();
    half.destroy();
  });

  /** A session over polling, joined to the room. */
  async function polling() {
    const session = await Polling.open(server, token);
    await session.post(`42["room:join",${JSON.stringify({ roomId: room })}]`);
    await session.receive((p) => p.startsWith('42["room:joined"'));
    return session;
  }

  /** The session still receives what is said. */
  async function receives(session) {
    const content = await say(ada, room);
    await session.receive((p) => p.startsWith('42["message:new"') && p.includes(content));
  }

  for (const [what, packets] of [
    ['5 before 2probe', ['5']],
    ['2prob', ['2prob']],
    ['a message before 2probe', ['42["typing:stop",{"roomId":"x"}]']],
    ['a message after 2probe, before 5', ['2probe', '42["typing:stop",{"roomId":"x"}]']],
  ]) {
    hostile(`E8: ${what} closes the probe alone, and no message is lost`, async () => {
      const session = await polling();
      const probe = await WebSocketByHand.open(server, { sid: session.sid });
      assert.equal(probe.status, 101);
      for (const packet of packets) probe.text(packet);
      await probe.ended();
      await receives(session);
    });
  }

  hostile('E8: of two probes at once the second is closed', async () => {
    const session = await polling();
    const first = await WebSocketByHand.open(server, { sid: session.sid });
    first.text('2probe');
    assert.equal(await first.next(), '3probe');
    const second = await WebSocketByHand.open(server, { sid: session.sid });
    if (second.status === 101) await second.ended();
    else assert.ok(isRefusal(second.status), String(second.status));
    second.destroy();
    first.text('5');
    const content = await say(ada, room);
    await first.next((text) => text.includes(content), 'a message over the upgraded connection');
    first.destroy();
  });

  hostile('E8: a post after the upgrade is refused', async () => {
    const session = await polling();
    const upgraded = await WebSocketByHand.open(server, { sid: session.sid });
    upgraded.text('2probe');
    await upgraded.next((text) => text === '3probe');
    upgraded.text('5');
    const content = await say(ada, room);
    await upgraded.next((text) => text.includes(content));
    assert.equal((await session.post('42["typing:stop",{"roomId":"x"}]')).status, 400);
    upgraded.destroy();
  });

  hostile('E8: a session born on WebSocket is not upgraded, and lives on', async () => {
    const born = await WebSocketByHand.open(server);
    const { sid } = JSON.parse((await born.next((t) => t.startsWith('0{'))).slice(1));
    born.text(`40${JSON.stringify({ token })}`);
    await born.next((t) => t.startsWith('40{'));
    const again = await WebSocketByHand.open(server, { sid });
    if (again.status === 101) await again.ended();
    else assert.equal(again.status, 400);
    again.destroy();
    born.text('421["presence:update",{"status":"away"}]');
    await born.next((t) => t.startsWith('431['), 'the ack of a session that lives on');
    born.destroy();
  });

  for (const [what, packet] of [
    ['b and invalid base64', 'b!!!!'],
    ['a binary of almost a megabyte that nothing announced', `b${'A'.repeat(999_000)}`],
    ['packet type 7', '7'],
    ['packet type a', 'a'],
    ['an open packet from a client', '0{"sid":"x"}'],
    ['a noop from a client', '6'],
    ['an empty packet', `42["typing:stop",{"roomId":"x"}]${SEPARATOR}${SEPARATOR}42["typing:stop",{"roomId":"x"}]`],
  ]) {
    hostile(`E10: ${what} closes the session`, async () => {
      const session = await Polling.open(server, token);
      const { status } = await session.post(packet);
      assert.ok(status === 200 || isRefusal(status), String(status));
      await session.ended();
    });
  }

  hostile('E10: the same over WebSocket', async () => {
    for (const packet of ['7', 'a', '0{"sid":"x"}', '6', '']) {
      const ws = await WebSocketByHand.connected(server, token);
      ws.text(packet);
      await ws.ended(undefined, `the end after ${brief(packet)}`);
    }
  });

  hostile('E11: the upgrade is for origins on the list alone', async () => {
    const foreign = ['null', 'https://app.example.com.evil', 'https://evilapp.example.com', 'http://app.example.com', 'https://app.example.com:444'];
    for (const origin of foreign) {
      const { status } = await askForWebSocket(server, { headers: { Origin: origin } });
      assert.equal(status, 403, origin);
      const { headers } = await http(server, HANDSHAKE, { headers: { Origin: origin } });
      assert.notEqual(headers['access-control-allow-origin'], origin);
    }
    assert.equal((await askForWebSocket(server, { headers: { Origin: 'https://app.example.com' } })).status, 101);
  });
});

describe('Socket.IO packets', { concurrency: 4 }, () => {
  const send = (content) => `["message:send",${JSON.stringify({ roomId: room, content })}]`;
  /** Each of these, sent by a connected socket, ends the connection. */
  const closing = {
    'S1: more than ten attachments announced': [['45999999999999-["a"]'], ['4511-["a"]', Buffer.from('x')], ['4599999999999999999999999-["a"]']],
    'S2: no attachment announced in a binary packet': [['450-["a"]', Buffer.from('x')]],
    'S3: a count of attachments that is not digits': ['451e0-["a"]', '450x1-["a"]', '45 1-["a"]', '45-1-["a"]', '451.5-["a"]', '45-["a"]', '451["a"]'].map((p) => [p, Buffer.from('x')]),
    'S4: a placeholder that names no attachment': ['1', '-1', '0.5', '"0"', '"splice"', 'null', '1e309']
      .map((num) => `{"_placeholder":true,"num":${num}}`)
      .concat('{"_placeholder":true}')
      .map((placeholder) => [`451-["message:send",${placeholder}]`, Buffer.from('x')]),
    'S6: a text where a binary was announced': [['451-["a",{"_placeholder":true,"num":0}]', `42${send('x')}`]],
    'S6: a binary that nothing announced': [[Buffer.from('x')]],
    'S7: an event without a name': ['2[{"toString":"foo"}]', '2[]', '2{}', '2[null]', '2[["a"]]', '2', '2"a"', '2[5.5]'].map((p) => [`4${p}`]),
    'S12: a second CONNECT': [[`40${JSON.stringify({ token })}`]],
    'S12: a CONNECT_ERROR from a client': [['44{"message":"x"}']],
    'S13: JSON that is not JSON': ['["a"', '["a"]x', '["a",]', '\ufeff["a"]', '["a",01]', "['a']", '["a",NaN]'].map((json) => [`42${json}`]),
  };
  for (const [name, cases] of Object.entries(closing)) {
    hostile(`${name}: closed`, async () => {
      for (const packets of cases) {
        const ws = await WebSocketByHand.connected(server, token);
        for (const packet of packets) (typeof packet === 'string' ? ws.text(packet) : ws.binary(packet));
        await ws.ended(undefined, `the end after ${brief(packets)}`);
      }
    });
  }

  hostile('S6: an announced binary that never comes is waited for 10 s', async () => {
    const ws = await WebSocketByHand.connected(server, token);
    const started = performance.now();
    ws.text('451-["a",{"_placeholder":true,"num":0}]');
    await ws.ended(14_000);
    assert.ok(performance.now() - started > 5_000, 'time to arrive is given');
  });

  hostile('S12: an event before CONNECT: closed', async () => {
    const ws = await WebSocketByHand.open(server);
    await ws.next((t) => t.startsWith('0{'));
    ws.text(`42${send(saying())}`);
    await ws.ended();
  });

  hostile('S12: who never sends CONNECT is closed after 10 s', async () => {
    const ws = await WebSocketByHand.open(server);
    const started = performance.now();
    await ws.ended(14_000);
    assert.ok(performance.now() - started > 8_000, 'time to connect is given');
  });

  hostile('S12: a CONNECT whose payload is no object, or whose token is no text, gets nobody in', async () => {
    for (const payload of ['[]', '"x"', '5', '{"token":{"$ne":null}}', '{"token":["x"]}', '{', '{"token":"x"']) {
      const ws = await WebSocketByHand.open(server);
      await ws.next((t) => t.startsWith('0{'));
      ws.text(`40${payload}`);
      const answer = await ws.nextOrEnd((t) => t.startsWith('4'), `an answer to 40${payload}`);
      assert.ok(answer === 'closed' || answer.startsWith('44'), `40${payload} got ${answer}`);
      ws.destroy();
    }
  });

  const nested = (depth, open, close) => `${open.repeat(depth)}1${close.repeat(depth)}`;
  const deep = (depth) => [nested(depth, '[', ']'), nested(depth, '{"a":', '}')];
  hostile('S13: what is nested too deeply is refused', async () => {
    for (const value of [33, 101, 127, 129, 100_000].flatMap(deep)) {
      const ws = await WebSocketByHand.connected(server, token);
      ws.text(`427["message:send",{"roomId":${JSON.stringify(room)},"content":"x","attachments":[{"a":${value}}]}]`);
      const answer = await ws.nextOrEnd((t) => t.startsWith('437['), `an answer to ${brief(value, 20)}`);
      assert.ok(answer === 'closed' || JSON.parse(answer.slice(3))[0].ok === false, answer);
      ws.destroy();
    }
  });

  hostile('S13: odd but finite JSON is answered or closed, never left in silence', async () => {
    const keys = Array.from({ length: 100_000 }, (_, i) => `"k${i}":0`).join(',');
    const digits = '9'.repeat(900_000);
    const odd = ['1e400', '-0', digits, `{${keys}}`, '{"a":1,"a":2}', '"\\ud800"', '"\\u0000"'];
    for (const value of odd) {
      const ws = await WebSocketByHand.connected(server, token);
      ws.text(`428["message:send",{"roomId":${JSON.stringify(room)},"content":${value}}]`);
      await ws.nextOrEnd((t) => t.startsWith('438['), `an answer to content ${brief(value, 20)}`);
      ws.text(`429["typing:stop",{"roomId":${value}}]`);
      await ws.nextOrEnd((t) => t.startsWith('439['), `an answer to roomId ${brief(value, 20)}`);
      ws.destroy();
    }
  });
});
