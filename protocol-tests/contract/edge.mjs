// Contract, sections 6 and 7: what browsers and proxies see of the server, and what its settings make of that.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';

import { connect } from '../lib/client.mjs';
import { accepted } from '../lib/expect.mjs';
import { http } from '../lib/http.mjs';
import { refusesToStart, showingLog, startServer } from '../lib/server.mjs';
import { sign } from '../lib/tokens.mjs';
import { unique } from '../lib/wait.mjs';
import { say } from '../lib/world.mjs';

const dist = new URL('../node_modules/socket.io-client/dist/', import.meta.url).pathname;
const PATH = '/chat/ws/';

export async function edge() {
  const server = await startServer({ SOCKET_PATH: PATH, CLIENT_BUNDLE_DIR: dist, COOKIE_NAME: 'io', OPEN_ROOMS: 'true' });

  describe('the edge', () => {
    after(() => server.stop());
    const edgeTest = (name, body) => test(name, showingLog(server, body));
    const open = (headers) => http(server, `${PATH}?EIO=4&transport=polling`, { headers });

    edgeTest('SOCKET_PATH: the official client connects there over each transport, and nobody elsewhere', async (t) => {
      for (const mode of ['polling', 'websocket', 'upgrade']) {
        const user = await connect(t, server, { mode, claims: { userId: unique('path') }, path: PATH });
        assert.ok(user.socket.connected, mode);
      }
      assert.equal((await http(server, '/socket.io/?EIO=4&transport=polling')).status, 404);
    });

    edgeTest('CLIENT_BUNDLE_DIR: every script of the npm package is served as it is', async () => {
      const names = readdirSync(dist).filter((name) => name.startsWith('socket.io.'));
      assert.ok(names.length >= 8, String(names));
      for (const name of names) {
        const { status, headers, text } = await http(server, PATH + name);
        assert.equal(status, 200, name);
        assert.equal(text, readFileSync(dist + name, 'utf8'), name);
        assert.match(headers['content-type'], name.endsWith('.map') ? /^application\/json/ : /^text\/javascript/);
        const again = await http(server, PATH + name, { headers: { 'If-None-Match': headers.etag } });
        assert.deepEqual([again.status, again.text], [304, '']);
      }
    });

    edgeTest('COOKIE_NAME: a handshake sets it, and it is worth nothing by itself', async () => {
      const { headers, text } = await open();
      const { sid } = JSON.parse(text.slice(1));
      assert.deepEqual(headers['set-cookie'], [`io=${sid}; Path=/; HttpOnly; SameSite=Lax`]);
      const again = await open({ Cookie: `io=${sid}`, 'X-Forwarded-Proto': 'https' });
      assert.notEqual(JSON.parse(again.text.slice(1)).sid, sid);
      assert.doesNotMatch(again.headers['set-cookie'][0], /Secure/, 'who is no proxy says nothing about TLS');
    });

    edgeTest('a long poll is compressed for those who take it', async (t) => {
      const room = unique('long');
      const ada = await connect(t, server, { claims: { userId: unique('ada') }, path: PATH });
      accepted(await ada.emitAck('room:join', { roomId: room }));
      const { text } = await open();
      const path = `${PATH}?EIO=4&transport=polling&sid=${JSON.parse(text.slice(1)).sid}`;
      const post = (body) => http(server, path, { method: 'POST', body, headers: { 'Content-Type': 'text/plain' } });
      await post(`40${JSON.stringify({ token: sign({ userId: unique('bob') }) })}\x1e421["room:join",{"roomId":"${room}"}]`);
      while (!(await http(server, path)).text.includes('431['));
      const content = await say(ada, room, `said: ${'over and over '.repeat(1000)}`);
      const answer = await fetch(server.url + path, { headers: { 'Accept-Encoding': 'gzip' } });
      assert.equal(answer.headers.get('content-encoding'), 'gzip');
      assert.match(answer.headers.get('vary'), /accept-encoding/i);
      assert.ok(Number(answer.headers.get('content-length')) < content.length / 10);
      assert.ok((await answer.text()).includes(content));
    });

    edgeTest('E15: no session id is ever in a log line, whatever is logged', async (t) => {
      const { text } = await open();
      const { sid } = JSON.parse(text.slice(1));
      await http(server, `${PATH}?EIO=4&transport=polling&sid=${sid}`, { method: 'POST', body: 'nonsense' });
      const user = await connect(t, server, { mode: 'upgrade', claims: { userId: unique('log') }, path: PATH });
      const other = user.socket.io.engine.id;
      user.disconnect();
      await server.signal('SIGTERM');
      assert.ok(server.log.length > 0);
      for (const secret of [sid, other]) assert.ok(!server.log.includes(secret), server.tail());
    });
  });

  const deflating = await startServer({ WS_DEFLATE: 'true', OPEN_ROOMS: 'true' });

  describe('WS_DEFLATE', () => {
    after(() => deflating.stop());

    test('messages of every length arrive whole, whether or not a client compresses', showingLog(deflating, async (t) => {
      const room = unique('deflate');
      const people = [];
      for (const perMessageDeflate of [{ threshold: 0 }, { threshold: 1024 }, { threshold: 0, clientMaxWindowBits: 9 }, false]) {
        const user = await connect(t, deflating, { claims: { userId: unique('user') }, perMessageDeflate });
        accepted(await user.emitAck('room:join', { roomId: room }));
        const { extensions } = user.socket.io.engine.transport.ws;
        assert.equal(extensions, perMessageDeflate ? 'permessage-deflate' : '');
        people.push(user);
      }
      people.push(await connect(t, deflating, { mode: 'upgrade', claims: { userId: unique('user') } }));
      accepted(await people.at(-1).emitAck('room:join', { roomId: room }));
      for (const length of [1, 100, 1_100, 60_000]) {
        for (const sender of people) {
          const noise = randomBytes(Math.ceil(length / 4)).toString('base64');
          const content = `said: ${noise}${'ä€ over and over '.repeat(length / 30)}`;
          accepted(await sender.emitAck('message:send', { roomId: room, content }));
          for (const user of people) await user.next('message:new', (m) => m.content === content);
        }
      }
    }));
  });

  describe('settings of the edge that make no sense', () => {
    for (const [name, value, complaint] of [
      ['SOCKET_PATH', '/socket.io', /SOCKET_PATH is "\/socket.io"; it must be a path/],
      ['SOCKET_PATH', '/', /SOCKET_PATH is/],
      ['COOKIE_NAME', 'a;b', /COOKIE_NAME is "a;b"; it must be a cookie's name/],
      ['WS_DEFLATE', 'yes', /WS_DEFLATE is "yes"; it must be one of true, false/],
      ['TRUST_PROXY', 'yes', /TRUST_PROXY is "yes"; it must be a number of proxies/],
      ['CLIENT_BUNDLE_DIR', '/nowhere', /CLIENT_BUNDLE_DIR names the folder "\/nowhere", which cannot be read/],
      ['CLIENT_BUNDLE_DIR', '/', /CLIENT_BUNDLE_DIR names the folder "\/", which holds no socket.io script/],
    ]) {
      test(`${name}=${value} stops the start in one sentence`, async () => {
        const { code, log } = await refusesToStart({ [name]: value });
        assert.notEqual(code, 0);
        assert.match(log, complaint);
      });
    }
  });
}
