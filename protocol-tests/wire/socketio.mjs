// Socket.IO: joining and leaving namespaces, events, acknowledgements, attachments, and what ends the connection.

import assert from 'node:assert/strict';
import { describe } from 'node:test';

import { LINKS, PING, PollingLink, PONG, WebSocketLink } from '../lib/links.mjs';
import { brief } from '../lib/wait.mjs';
import { assertElapsed, CONNECT_TIMEOUT, SOCKET_IO } from './wire.mjs';

/** The namespaces that there are, as a packet names them. */
const NAMESPACES = ['', '/custom,'];
/** CONNECT packets that one connection may send. */
const MAX_CONNECTS = 16;

const bytes = (...values) => Buffer.from(values);
const placeholder = (num) => `{"_placeholder":true,"num":${num}}`;

/** What is sent, and what has to come back; `n` is the namespace. */
const ECHOES = {
  'an event': [(n) => [`42${n}["message",1,"2",{"3":[true]}]`], (n) => [`42${n}["message-back",1,"2",{"3":[true]}]`]],
  'an event without arguments': [(n) => [`42${n}["message"]`], (n) => [`42${n}["message-back"]`]],
  'an event of every character': [
    (n) => [`42${n}["message","ä € 👩‍🚀 \u2028 \\\\ \\" ,-[]{}"]`],
    (n) => [`42${n}["message-back","ä € 👩‍🚀 \u2028 \\\\ \\" ,-[]{}"]`],
  ],
  'an event with attachments': [
    (n) => [`452-${n}["message",${placeholder(0)},${placeholder(1)}]`, bytes(1, 2, 3), bytes(4, 5, 6)],
    (n) => [`452-${n}["message-back",${placeholder(0)},${placeholder(1)}]`, bytes(1, 2, 3), bytes(4, 5, 6)],
  ],
  'an event with attachments named out of order, within other values': [
    (n) => [`452-${n}["message",[{"a":${placeholder(1)}}],${placeholder(0)}]`, bytes(1), bytes()],
    (n) => [`452-${n}["message-back",[{"a":${placeholder(1)}}],${placeholder(0)}]`, bytes(1), bytes()],
  ],
  'an event with ten attachments': [
    (n) => [`4510-${n}["message",${[...Array(10).keys()].map(placeholder)}]`, ...[...Array(10).keys()].map((i) => bytes(i))],
    (n) => [`4510-${n}["message-back",${[...Array(10).keys()].map(placeholder)}]`, ...[...Array(10).keys()].map((i) => bytes(i))],
  ],
  'an acknowledgement': [
    (n) => [`42${n}456["message-with-ack",1,"2",{"3":[false]}]`],
    (n) => [`43${n}456[1,"2",{"3":[false]}]`],
  ],
  'an acknowledgement of nothing, with the id 0': [(n) => [`42${n}0["message-with-ack"]`], (n) => [`43${n}0[]`]],
  'an acknowledgement with a large id': [
    (n) => [`42${n}9007199254740991["message-with-ack",null]`],
    (n) => [`43${n}9007199254740991[null]`],
  ],
  'an acknowledgement with attachments': [
    (n) => [`452-${n}789["message-with-ack",${placeholder(0)},${placeholder(1)}]`, bytes(1, 2, 3), bytes(4, 5, 6)],
    (n) => [`462-${n}789[${placeholder(0)},${placeholder(1)}]`, bytes(1, 2, 3), bytes(4, 5, 6)],
  ],
  'the second event alone, when nobody listens to the first': [
    (n) => [`42${n}["nobody listens"]`, `43${n}12345["to what?"]`, `42${n}["message",2]`],
    (n) => [`42${n}["message-back",2]`],
  ],
};

/** Each of these ends a connection that has joined nothing. */
const BEFORE_CONNECT = ['4abc', '4', '41', '42["message"]', '42/custom,["message"]', '430[]', '40[]', '40"x"', '40{', '407{}', bytes(1)];

/** Each of these ends a connection that has joined `/`. */
const AFTER_CONNECT = [
  ['4abc'],
  ['4'],
  ['47["message"]'],
  ['42'],
  ['42{}'],
  ['42[]'],
  ['42"message"'],
  ['42[{}]'],
  ['42["message"'],
  ['42["message"]x'],
  ['42abc["message-with-ack",1,"2",{"3":[false]}]'],
  ['421.5["message-with-ack"]'],
  ['42-1["message-with-ack"]'],
  ['42/custom,["message"]'],
  ['42/random,["message"]'],
  ['44{"message":"from a client"}'],
  [bytes(1)],
  ['450-["message"]'],
  ['45-["message"]', bytes(1)],
  ['45["message"]', bytes(1)],
  ['4511-["message"]'],
  [`451-["message",${placeholder(0)}]`, '42["message"]'],
  [`451-["message",${placeholder(1)}]`, bytes(1)],
  [`451-["message",${placeholder(-1)}]`, bytes(1)],
  [`451-["message",${placeholder('"0"')}]`, bytes(1)],
];

/** Sends CONNECT and takes its answer, then the event with which the example greets. Resolves to the socket's id. */
async function join(link, namespace = '', payload = '') {
  await link.send(`40${namespace}${payload}`);
  const answer = await link.next();
  assert.ok(answer.startsWith(`40${namespace}{`), answer);
  const { sid, ...rest } = JSON.parse(answer.slice(2 + namespace.length));
  assert.deepEqual(rest, {});
  assert.match(sid, /^[\w-]{20,}$/);
  assert.equal(await link.next(), `42${namespace}["auth",${payload || '{}'}]`);
  return sid;
}

async function receives(link, packets) {
  for (const packet of packets) assert.deepEqual(await link.next(), packet);
}

/** The connection ends; on WebSocket the close frame says that it was for a fault. */
async function endsFor(link) {
  const code = await link.closed();
  if (link instanceof WebSocketLink) assert.equal(code, 1002);
}

export function socketIo({ check, open, probe, everyCoreAnswers }) {
  for (const Link of LINKS) {
    const start = (t, options) => open(t, Link, SOCKET_IO, options);
    const joined = async (t, namespace = '', options = {}) => {
      const link = await start(t, options);
      await join(link, namespace);
      return link;
    };

    describe(`Socket.IO over ${Link.label}: namespaces`, () => {
      for (const payload of ['', '{"token":"123"}', '{"token":"ä","n":[1,{"a":null}]}']) {
        check(`CONNECT with ${payload || 'no payload'}`, async (t) => {
          const link = await start(t);
          const sids = new Set([link.sid]);
          for (const namespace of NAMESPACES) sids.add(await join(link, namespace, payload));
          assert.equal(sids.size, 3, 'the ids of sockets and of the session are all different');
        });
      }

      check('the comma after a namespace may be left out when nothing follows', async (t) => {
        const link = await start(t);
        await link.send('40/custom');
        assert.match(await link.next(), /^40\/custom,\{"sid":"[^"]+"\}$/);
        await receives(link, ['42/custom,["auth",{}]']);
        await link.send('41/custom', '40');
        assert.match(await link.next(), /^40\{/);
      });

      check('an unknown namespace is refused, and others can still be joined', async (t) => {
        const link = await start(t);
        for (const packet of ['40/random', '40/random,', '40/random,{"token":"123"}']) {
          await link.send(packet);
          assert.equal(await link.next(), '44/random,{"message":"Invalid namespace"}', packet);
        }
        await join(link);
      });

      check('a socket leaves; the connection, its heartbeat and its other socket stay, and it may come back', async (t) => {
        const link = await joined(t);
        await join(link, '/custom,');
        await link.send('41/custom,', '42["message","to the main one"]');
        await receives(link, ['42["message-back","to the main one"]']);
        await join(link, '/custom,');
        await link.send('41', '42/custom,["message","to the custom one"]');
        await receives(link, ['42/custom,["message-back","to the custom one"]']);
        await link.send('41/custom,');
        link.heartbeat = false;
        for (let i = 0; i < 3; i++) {
          assert.equal(await link.next(), PING);
          await link.send(PONG);
        }
        await join(link);
      });

      for (const namespace of NAMESPACES) {
        check(`CONNECT twice to ${namespace || '/'} ends the connection`, async (t) => {
          const link = await joined(t, namespace);
          await link.send(`40${namespace}`);
          await endsFor(link);
        });

        check(`an event after leaving ${namespace || '/'} ends the connection`, async (t) => {
          const link = await joined(t, namespace);
          await link.send(`41${namespace}`, `42${namespace}["message"]`);
          await endsFor(link);
        });
      }

      check(`CONNECT more than ${MAX_CONNECTS} times ends the connection`, async (t) => {
        const asking = await start(t);
        const returning = await start(t);
        for (let i = 0; i < MAX_CONNECTS; i++) {
          await asking.send('40/random,');
          await receives(asking, ['44/random,{"message":"Invalid namespace"}']);
          await join(returning);
          await returning.send('41');
        }
        for (const link of [asking, returning]) {
          await link.send('40');
          await endsFor(link);
        }
      });

      check('without CONNECT the connection ends in time, and nobody else is held up', async (t) => {
        const started = performance.now();
        const links = await Promise.all(Array.from({ length: 6 }, () => start(t)));
        await links[0].send('40/random,'); // a refused CONNECT is none
        const codes = await Promise.all(links.map((link) => link.closed()));
        assertElapsed(started, CONNECT_TIMEOUT, 'the end');
        if (Link === WebSocketLink) assert.deepEqual(new Set(codes), new Set([1000]));
        await everyCoreAnswers();
      });

      check('with CONNECT it does not', async (t) => {
        const link = await joined(t, '/custom,');
        link.heartbeat = false;
        for (const end = performance.now() + CONNECT_TIMEOUT + 200; performance.now() < end; ) {
          assert.equal(await link.next(), PING);
          await link.send(PONG);
        }
      });

      for (const packet of BEFORE_CONNECT) {
        check(`before CONNECT, ${brief(packet)} ends the connection`, async (t) => {
          const link = await start(t);
          await link.send(packet);
          await endsFor(link);
        });
      }
    });

    describe(`Socket.IO over ${Link.label}: events`, () => {
      for (const namespace of NAMESPACES) {
        for (const [what, [sent, expected]] of Object.entries(ECHOES)) {
          check(`${namespace || '/'} ${what}`, async (t) => {
            const link = await joined(t, namespace);
            await link.send(...sent(namespace));
            await receives(link, expected(namespace));
            for (const packet of sent(namespace)) await link.send(packet); // now in payloads of their own
            await receives(link, expected(namespace));
          });
        }

        check(`${namespace || '/'} an acknowledgement that the server asks for`, async (t) => {
          const link = await joined(t, namespace);
          await link.send(`42${namespace}["emit-with-ack",1,"2"]`, `42${namespace}["emit-with-ack",3]`);
          const ask = /^42((?:\/custom,)?)(\d+)(\[.*\])$/;
          const asked = [ask.exec(await link.next()), ask.exec(await link.next())];
          assert.deepEqual(asked.map((a) => [a[1], a[3]]), [[namespace, '["emit-with-ack",1,"2"]'], [namespace, '["emit-with-ack",3]']]);
          const [first, second] = asked.map((a) => a[2]);
          assert.notEqual(first, second, 'each has an id of its own');
          // In the other order, and one of them twice: once is what counts.
          await link.send(`43${namespace}${second}["second"]`, `43${namespace}${second}["again"]`, `43${namespace}${first}[{"a":1},[]]`);
          await receives(link, [`42${namespace}["emit-with-ack","second"]`, `42${namespace}["emit-with-ack",{"a":1},[]]`]);
        });

        check(`${namespace || '/'} the same with attachments both ways`, async (t) => {
          const link = await joined(t, namespace);
          await link.send(`451-${namespace}["emit-with-ack",${placeholder(0)}]`, bytes(1, 2, 3));
          const [, id] = /^451-(?:\/custom,)?(\d+)\["emit-with-ack",\{"_placeholder":true,"num":0\}\]$/.exec(await link.next());
          await receives(link, [bytes(1, 2, 3)]);
          await link.send(`462-${namespace}${id}[${placeholder(0)},${placeholder(1)}]`, bytes(4), bytes());
          await receives(link, [`452-${namespace}["emit-with-ack",${placeholder(0)},${placeholder(1)}]`, bytes(4), bytes()]);
        });
      }

      check('a megabyte: of text, and in an attachment', async (t) => {
        const link = await joined(t);
        const text = 'x'.repeat(900_000);
        await link.send(`42["message","${text}"]`);
        await receives(link, [`42["message-back","${text}"]`]);
        const attachment = Buffer.alloc(700_000, 0xa5);
        await link.send(`451-["message",${placeholder(0)}]`, attachment);
        await receives(link, [`451-["message-back",${placeholder(0)}]`, attachment]);
      });

      check('a hundred events, some with attachments, keep their order', async (t) => {
        const link = await joined(t);
        const event = (name, i) => (i % 5 ? [`42["${name}",${i}]`] : [`451-["${name}",${i},${placeholder(0)}]`, bytes(i)]);
        const events = (name) => Array.from({ length: 100 }, (_, i) => event(name, i)).flat();
        await link.send(...events('message'));
        await receives(link, events('message-back'));
      });

      for (const packets of AFTER_CONNECT) {
        check(`${brief(packets.map((p) => (typeof p === 'string' ? p : '<binary>')))} ends the connection`, async (t) => {
          const link = await joined(t);
          await link.send(...packets);
          await endsFor(link);
        });
      }
    });
  }

  describe('Socket.IO across an upgrade', () => {
    check('the socket stays, and what belongs together may come over both transports', async (t) => {
      const link = await open(t, PollingLink, SOCKET_IO);
      await join(link);
      await link.send(`452-["message",${placeholder(0)},${placeholder(1)}]`, bytes(1));
      const socket = await probe(t, link, SOCKET_IO);
      await socket.send('2probe');
      await receives(socket, ['3probe']);
      await socket.send('5', bytes(2), '427["message-with-ack"]');
      await receives(socket, [`452-["message-back",${placeholder(0)},${placeholder(1)}]`, bytes(1), bytes(2), '437[]']);
    });
  });
}
