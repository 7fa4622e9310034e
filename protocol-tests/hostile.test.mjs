// Bytes that no well-behaved client sends over HTTP, each with its verdict; after each, two well-behaved clients still chat.
// The ids (E1, E2 …) are those of the project's list of hostile inputs.

import assert from 'node:assert/strict';
import { after, describe } from 'node:test';

import { askForWebSocket, http } from './lib/http.mjs';
import { peace } from './lib/peace.mjs';
import { Polling, rawStatus, SEPARATOR, Tcp, WebSocketByHand } from './lib/raw.mjs';
import { startServer } from './lib/server.mjs';
import { brief } from './lib/wait.mjs';
import { say } from './lib/world.mjs';

const server = await startServer({ CORS_ORIGIN: 'https://app.example.com' });
after(() => server.stop());
const { room, ada, token, hostile } = await peace(server);
const HANDSHAKE = '/socket.io/?EIO=4&transport=polling';

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
    // The server says so when it has begun with the first.
    half.write(post(session.sid, 'Content-Length: 10\r\nExpect: 100-continue'));
    await half.until(() => half.received.includes('100 Continue') || undefined, 'the beginning of a post');
    half.write('42');
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
