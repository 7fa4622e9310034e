// How a session begins, and what is not let in.

import assert from 'node:assert/strict';
import { describe } from 'node:test';

import { http } from '../lib/http.mjs';
import { PollingLink, WebSocketLink } from '../lib/links.mjs';
import { WebSocketByHand } from '../lib/raw.mjs';
import { assertRefused, ECHO, MAX_PAYLOAD, PATHS, PING_INTERVAL, PING_TIMEOUT } from './wire.mjs';

const UPGRADE = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

export function handshake({ server, check, open }) {
  for (const path of PATHS) {
    describe(`handshake at ${path}`, () => {
      const parameters = { pingInterval: PING_INTERVAL, pingTimeout: PING_TIMEOUT, maxPayload: MAX_PAYLOAD };

      check('polling offers an upgrade, and every session has an id of its own', async () => {
        const sids = new Set();
        for (let i = 0; i < 10; i++) {
          const { status, text, headers } = await http(server, `${path}?EIO=4&transport=polling`);
          assert.equal(status, 200);
          assert.match(headers['content-type'], /^text\/plain; *charset=utf-8$/i);
          assert.equal(text[0], '0');
          const { sid, ...rest } = JSON.parse(text.slice(1));
          assert.deepEqual(rest, { ...parameters, upgrades: ['websocket'] });
          assert.match(sid, /^[\w-]{20,}$/);
          sids.add(sid);
        }
        assert.equal(sids.size, 10);
      });

      check('WebSocket offers none', async (t) => {
        const socket = await WebSocketByHand.open(server, { path });
        t.after(() => socket.destroy());
        const first = await socket.next();
        assert.equal(first[0], '0');
        const { sid, ...rest } = JSON.parse(first.slice(1));
        assert.deepEqual(rest, { ...parameters, upgrades: [] });
        assert.match(sid, /^[\w-]{20,}$/);
      });

      const POLLING = 'EIO=4&transport=polling';
      for (const [method, query, code] of [
        ['GET', '', 0],
        ['GET', 'EIO=4', 0],
        ['GET', 'EIO=4&transport=abc', 0],
        ['GET', 'transport=polling', 5],
        ['GET', 'EIO=abc&transport=polling', 5],
        ['GET', 'EIO=3&transport=polling', 5],
        ['POST', POLLING, 2],
        ['PUT', POLLING, 2],
        ['DELETE', POLLING, 2],
        ['GET', 'EIO=4&transport=websocket', 3],
        ['GET', `${POLLING}&sid=unknown`, 1],
        ['GET', `${POLLING}&sid=AAAAAAAAAAAAAAAAAAAA`, 1],
        ['POST', `${POLLING}&sid=AAAAAAAAAAAAAAAAAAAA`, 1],
      ]) {
        check(`${method} ?${query} is 400 with code ${code}`, async () => {
          assertRefused(await http(server, `${path}?${query}`, { method }), code, query);
        });
      }

      for (const [query, code] of [
        ['transport=websocket', 5],
        ['EIO=abc&transport=websocket', 5],
        ['EIO=4', 0],
        ['EIO=4&transport=abc', 0],
        ['EIO=4&transport=polling', 3],
        ['EIO=4&transport=websocket&sid=unknown', 1],
        ['EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA', 1],
      ]) {
        check(`a WebSocket for ?${query} is 400 with code ${code}`, async () => {
          assertRefused(await http(server, `${path}?${query}`, { headers: UPGRADE }), code, query);
        });
      }

      check('a known session takes no other method, revision or transport, and lives on', async (t) => {
        const link = await open(t, PollingLink, path);
        for (const [method, query] of [
          ['PUT', POLLING],
          ['DELETE', POLLING],
          ['GET', 'EIO=3&transport=polling'],
          ['GET', 'EIO=4&transport=websocket'],
          ['POST', 'EIO=4&transport=websocket'],
        ]) {
          assertRefused(await http(server, `${path}?${query}&sid=${link.sid}`, { method }), 3, `${method} ${query}`);
        }
        assertRefused(await http(server, link.session.query, { headers: UPGRADE }), 3, 'an upgrade to polling');
        assert.equal((await link.send(path === ECHO ? '4x' : '40')).status, 200);
        assert.match(await link.next(), path === ECHO ? /^4x$/ : /^40\{/);
      });

      check('a session born on WebSocket answers no poll and no post', async (t) => {
        const link = await open(t, WebSocketLink, path);
        for (const method of ['GET', 'POST']) {
          const answer = await http(server, `${path}?${POLLING}&sid=${link.sid}`, { method, body: '4x' });
          assertRefused(answer, 3, method);
        }
        assert.equal(link.code, undefined, 'it lives on');
      });
    });
  }
}
