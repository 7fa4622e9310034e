// What keeps a session alive, and what ends it.

import assert from 'node:assert/strict';
import { describe } from 'node:test';

import { LINKS, PING, PollingLink, PONG, WebSocketLink } from '../lib/links.mjs';
import { Polling, Tcp } from '../lib/raw.mjs';
import { pause } from '../lib/wait.mjs';
import { assertElapsed, assertRefused, ECHO, PATHS, PING_INTERVAL, PING_TIMEOUT, SOCKET_IO } from './wire.mjs';

export function life({ server, check, open }) {
  describe('heartbeat', () => {
    for (const path of PATHS) {
      for (const Link of LINKS) {
        check(`${Link.label} at ${path}: a ping an interval after each pong`, async (t) => {
          let started = performance.now();
          const link = await open(t, Link, path, { heartbeat: false });
          if (path === SOCKET_IO) await link.send('40');
          for (let i = 0; i < 4; i++) {
            let packet = await link.next();
            while (/^4[02]/.test(packet)) packet = await link.next();
            assert.equal(packet, PING);
            assertElapsed(started, PING_INTERVAL, 'a ping');
            started = performance.now();
            await link.send(PONG);
          }
        });

        check(`${Link.label} at ${path}: no pong, no session`, async (t) => {
          const started = performance.now();
          const link = await open(t, Link, path, { heartbeat: false });
          if (path === SOCKET_IO) await link.send('40');
          await link.closed();
          assertElapsed(started, PING_INTERVAL + PING_TIMEOUT, 'the end');
        });
      }

      check(`polling at ${path}: a session nobody polls ends the same`, async () => {
        const session = await Polling.open(server, undefined, path);
        await pause(PING_INTERVAL + PING_TIMEOUT + 100);
        assertRefused(await session.poll(), 1, 'a late poll');
      });
    }

    check('pongs that nobody asked for neither hurt nor stand in for one that was', async (t) => {
      const started = performance.now();
      const link = await open(t, WebSocketLink, ECHO, { heartbeat: false });
      await link.send(PONG, PONG, PONG);
      assert.equal(await link.next(), PING);
      assertElapsed(started, PING_INTERVAL, 'the ping');
      await link.closed();
      assertElapsed(started, PING_INTERVAL + PING_TIMEOUT, 'the end');
    });
  });

  describe('the end of a session', () => {
    for (const path of PATHS) {
      check(`polling at ${path}: a close packet ends the held poll with a noop`, async (t) => {
        const link = await open(t, PollingLink, path);
        const held = link.session.poll();
        await pause(20);
        assert.equal((await link.send('1')).status, 200);
        assert.deepEqual(await held.then((a) => [a.status, a.text]), [200, '6']);
        assertRefused(await link.session.poll(), 1, 'a poll after the end');
      });

      check(`polling at ${path}: a poll that crosses the close packet gets the noop too`, async (t) => {
        const link = await open(t, PollingLink, path);
        assert.equal((await link.send('1')).status, 200);
        assert.deepEqual(await link.session.poll().then((a) => [a.status, a.text]), [200, '6']);
        assert.equal((await link.session.poll()).status, 400);
      });

      check(`WebSocket at ${path}: a close packet, or a close frame, closes`, async (t) => {
        const [first, second] = [await open(t, WebSocketLink, path), await open(t, WebSocketLink, path)];
        await first.send('1');
        assert.equal(await first.closed(), 1000);
        second.socket.close(1000);
        assert.equal(await second.closed(), 1000);
      });
    }

    check('two polls at a time: one is told that the session is over, one is refused', async () => {
      for (let i = 0; i < 10; i++) {
        const session = await Polling.open(server, undefined, ECHO);
        const answers = await Promise.all([session.poll(), session.poll()]);
        const [told, refused] = answers.sort((a, b) => a.status - b.status);
        assert.deepEqual([told.status, told.text, refused.status], [200, '1', 400]);
        assertRefused(await session.poll(), 1, 'a third poll');
      }
    });

    /** The beginning of a post, once the server has begun to read its body. */
    async function halfPost(t, { query }) {
      const tcp = await Tcp.open(server.port);
      t.after(() => tcp.destroy());
      tcp.write(`POST ${query} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n4half`);
      assert.equal(await tcp.status(), 100);
      return tcp;
    }

    check('two posts at a time: the session is over', async (t) => {
      for (let i = 0; i < 10; i++) {
        const session = await Polling.open(server, undefined, ECHO);
        const held = session.poll();
        await halfPost(t, session);
        assert.equal((await session.post('4whole')).status, 400);
        const { status, text } = await held; // which may come too late to be held
        assert.ok(status === 400 || text === '1', `${status} ${text}`);
        assertRefused(await session.poll(), 1, 'a poll after the end');
      }
    });

    check('a cancelled poll ends the session, without anybody asking for it', async () => {
      for (let i = 0; i < 10; i++) {
        const session = await Polling.open(server, undefined, ECHO);
        const tcp = await Tcp.open(server.port);
        tcp.write(`GET ${session.query} HTTP/1.1\r\nHost: x\r\n\r\n`);
        await pause(10);
        tcp.destroy();
        const started = performance.now();
        while ((await session.post(PONG)).status !== 400) {
          assert.ok(performance.now() - started < PING_INTERVAL, 'it takes posts for as long as it would have without');
          await pause(5);
        }
      }
    });

    check('a cancelled post ends the session', async (t) => {
      for (let i = 0; i < 10; i++) {
        const session = await Polling.open(server, undefined, ECHO);
        (await halfPost(t, session)).destroy();
        const { status, text } = await session.poll();
        assert.ok(status === 400 || text === '1', `${status} ${text}`);
      }
    });
  });
}
