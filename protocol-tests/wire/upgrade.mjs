// From polling to WebSocket: probes, their failures, and what is on its way meanwhile.

import assert from 'node:assert/strict';
import { describe } from 'node:test';

import { PING, PollingLink, PONG, WebSocketLink } from '../lib/links.mjs';
import { WebSocketByHand } from '../lib/raw.mjs';
import { brief, pause } from '../lib/wait.mjs';
import { assertElapsed, assertRefused, ECHO, echoes, PATHS, PING_INTERVAL, PING_TIMEOUT } from './wire.mjs';

/** The whole of it, as a client does it. */
async function complete(socket) {
  await socket.send('2probe');
  assert.equal(await socket.next(), '3probe');
  await socket.send('5');
}

export function upgrade({ server, check, open, probe }) {
  describe('upgrade', () => {
    for (const path of PATHS) {
      check(`${path}: polls end with a noop, then everything is on the WebSocket`, async (t) => {
        const link = await open(t, PollingLink, path);
        const held = link.session.poll();
        const socket = await probe(t, link, path);
        await socket.send('2probe');
        assert.equal(await socket.next(), '3probe');
        assert.deepEqual(await held.then((a) => [a.status, a.text]), [200, '6']);
        assert.deepEqual(await link.session.poll().then((a) => [a.status, a.text]), [200, '6'], 'a poll that comes later');
        await socket.send('5', path === ECHO ? '4hello' : '40');
        assert.match(await socket.next(), path === ECHO ? /^4hello$/ : /^40\{/);
      });

      check(`${path}: an upgraded session takes no request and no other WebSocket`, async (t) => {
        const link = await open(t, PollingLink, path);
        const socket = await probe(t, link, path);
        await complete(socket);
        await socket.send(path === ECHO ? '4x' : '40');
        await socket.next();
        assertRefused(await link.session.poll(), 3, 'a poll');
        assertRefused(await link.session.post('4x'), 3, 'a post');
        await (await probe(t, link, path)).closed();
        assert.equal(socket.code, undefined, 'it lives on');
      });
    }

    check('a poll that comes after `2probe` and `5` is refused, whichever core it comes to', async (t) => {
      for (let i = 0; i < 20; i++) {
        const link = await open(t, PollingLink);
        const socket = await probe(t, link);
        await socket.send('2probe', '5');
        assertRefused(await link.session.poll(), 3, 'the poll');
      }
    });

    check('a poll that is held when `5` comes is answered then, not at the end of the session', async (t) => {
      for (let i = 0; i < 20; i++) {
        const link = await open(t, PollingLink);
        const started = performance.now();
        const held = link.session.poll();
        const socket = await probe(t, link);
        await socket.send('2probe', '5');
        const { status, text } = await held;
        assert.ok(performance.now() - started < PING_INTERVAL, 'it was held to the next ping and longer');
        assert.ok(status === 400 || text === '6', `${status} ${text}`);
        assert.equal(await socket.next(), '3probe');
        await echoes(socket);
      }
    });

    check('a session born on WebSocket is not upgraded', async (t) => {
      const born = await open(t, WebSocketLink);
      await (await probe(t, born)).closed();
      await echoes(born);
    });

    check('a second probe is opened and closed, and the first completes', async (t) => {
      for (const answered of [false, true]) {
        const link = await open(t, PollingLink);
        const first = await probe(t, link);
        if (answered) {
          await first.send('2probe');
          assert.equal(await first.next(), '3probe');
        }
        const second = await probe(t, link);
        assert.equal(await second.closed(), 1000);
        await complete(first);
        await echoes(first);
      }
    });

    check('probe packets that come in one segment with the upgrade request count, on every core', async (t) => {
      // A masked text frame; the mask is zero, so the payload is to be read as it stands.
      const frame = (text) => Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
      for (let i = 0; i < 10; i++) {
        const { sid } = await open(t, PollingLink);
        const socket = await WebSocketByHand.open(server, { path: ECHO, sid, extra: frame('2probe') });
        t.after(() => socket.destroy());
        assert.equal(await socket.next(), '3probe');
        socket.text('5');
        socket.text('4early');
        assert.equal(await socket.next(), '4early');
      }
    });

    const wrong = ['5', '4x', PING, PONG, '1', '6', '2prob', '3probe', 'abc', '', Buffer.from([4])].map((packet) => [packet]);
    const late = ['4x', PING, PONG, '1', '3probe', 'abc', Buffer.from([5])].map((packet) => ['2probe', packet]);
    for (const packets of [...wrong, ...late]) {
      check(`on a probe, ${brief(packets)} closes the probe alone; the next one succeeds`, async (t) => {
        const link = await open(t, PollingLink);
        const failed = await probe(t, link);
        await failed.send(...packets);
        await failed.closed();
        await echoes(link, '4over polling');
        const socket = await probe(t, link);
        await complete(socket);
        await echoes(socket, '4over WebSocket');
      });
    }

    check('a probe that goes away leaves the session on polling', async (t) => {
      for (const leave of ['close', 'terminate']) {
        const link = await open(t, PollingLink);
        const socket = await probe(t, link);
        await socket.send('2probe');
        await socket.next();
        socket.socket[leave]();
        await socket.closed();
        await pause(20);
        await echoes(link);
      }
    });

    for (let round = 0; round < 10; round++) {
      check(`messages echoed all the while are neither lost nor reordered (${round + 1})`, async (t) => {
        const link = await open(t, PollingLink);
        let [count, answered] = [0, false];
        const numbered = () => `4${count++}`;
        const reading = (async () => {
          while (!answered) assert.equal(await link.poll(), 200);
        })();
        const writing = (async () => {
          while (!answered) assert.equal((await link.send(numbered(), numbered())).status, 200);
        })();
        await pause(10 + 10 * round);
        const socket = await probe(t, link);
        await pause(5 * round);
        await socket.send('2probe');
        assert.equal(await socket.next(), '3probe');
        answered = true;
        // As clients do: what is under way ends before the upgrade. What is posted meanwhile waits for the WebSocket.
        await Promise.all([reading, writing]);
        for (let i = 0; i < 3; i++) assert.equal((await link.send(numbered())).status, 200);
        await socket.send('5', ...Array.from({ length: 20 }, numbered));
        const received = link.inbox.filter((packet) => packet !== '6');
        while (received.length < count) received.push(await socket.next());
        assert.deepEqual(received, Array.from({ length: count }, (_, i) => `4${i}`));
      });
    }

    check('the heartbeat goes on over polling while a probe is open, and over WebSocket after it', async (t) => {
      const link = await open(t, PollingLink, ECHO, { heartbeat: false });
      const socket = await probe(t, link, ECHO, { heartbeat: false });
      for (let i = 0; i < 3; i++) {
        assert.equal(await link.next(), PING);
        assert.equal((await link.send(PONG)).status, 200);
      }
      await socket.send('2probe');
      assert.equal(await socket.next(), '3probe');
      await pause(PING_INTERVAL + 50); // a ping falls due while nobody polls
      await socket.send('5');
      for (let i = 0; i < 3; i++) {
        assert.equal(await socket.next(), PING);
        await socket.send(PONG);
      }
      await echoes(socket);
    });

    for (const packets of [[], ['2probe']]) {
      check(`an upgrade that stops after ${brief(packets)} does not outlive the heartbeat`, async (t) => {
        const started = performance.now();
        const link = await open(t, PollingLink);
        const socket = await probe(t, link);
        await socket.send(...packets);
        await socket.closed();
        assertElapsed(started, PING_INTERVAL + PING_TIMEOUT, 'the end');
        assertRefused(await link.session.poll(), 1, 'a poll');
      });
    }
  });
}
