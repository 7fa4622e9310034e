// Socket.IO packets that no well-behaved client sends, each with its verdict; after each, two well-behaved clients still chat.
// The ids (S1, S2 …) are those of the project's list of hostile inputs; most rows also have a table beside the decoder.

import assert from 'node:assert/strict';
import { after, describe } from 'node:test';

import { hasFields, refusedWith } from './lib/expect.mjs';
import { peace } from './lib/peace.mjs';
import { WebSocketByHand } from './lib/raw.mjs';
import { startServer } from './lib/server.mjs';
import { brief } from './lib/wait.mjs';
import { say, saying } from './lib/world.mjs';

const server = await startServer();
after(() => server.stop());
const { room, ada, token, hostile } = await peace(server);

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
    'S10: an ack id that is no plain 64-bit number': ['18446744073709551616', '9'.repeat(400), '00', '007', ' ', '-1', '1.5', '1e3']
      .map((id) => [`42${id}["presence:update",{}]`]),
    'S11: a namespace too long, with a query, or unprintable': [`/${'a'.repeat(900_000)}`, '/a?x=1', '/a\u0000', '/\u001b[31m', '/a\r\n']
      .map((name) => [`40${name}`]),
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

  hostile('S5: a placeholder in an event without attachments is inert, and refused where attachments are named', async () => {
    const placeholder = { _placeholder: true, num: 0 };
    const ws = await WebSocketByHand.connected(server, token);
    const ask = async (id, attachments) => {
      ws.text(`42${id}["message:send",${JSON.stringify({ roomId: room, content: saying(), attachments })}]`);
      return JSON.parse((await ws.next((t) => t.startsWith(`43${id}[`))).slice(3))[0];
    };
    for (const named of [placeholder, { _placeholder: true, num: 'splice' }, { data: placeholder }]) {
      refusedWith(await ask(3, [named]), 'bad_request', JSON.stringify(named));
    }
    const attachments = [{ url: 'x', meta: placeholder }];
    const { messageId } = await ask(4, attachments);
    hasFields(await ada.next('message:new', (m) => m._id === messageId), { attachments });
    ws.destroy();
  });

  hostile('S6: a heartbeat may come between a packet and its attachments', async () => {
    const ws = await WebSocketByHand.connected(server, token);
    ws.text('451-5["nonsense",{"_placeholder":true,"num":0}]');
    ws.text('3');
    ws.binary('x');
    const answer = await ws.next((t) => t.startsWith('435['));
    refusedWith(JSON.parse(answer.slice(3))[0], 'bad_request');
    ws.destroy();
  });

  const names = [
    'error', 'connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener', '__proto__',
    'constructor', 'toString', 'hasOwnProperty', 'a\r\nb', 'a\u0000', '\u001b[31mred', '\u202e', '', ' message:send', 'n'.repeat(128),
  ];
  hostile('S8: an unknown name is answered with bad_request, also one that the protocol or a language knows', async () => {
    const ws = await WebSocketByHand.connected(server, token);
    for (const [id, name] of names.entries()) {
      ws.text(`42${id}${JSON.stringify([name, { roomId: room }])}`);
      const answer = await ws.next((t) => t.startsWith(`43${id}[`), `the ack of ${JSON.stringify(name)}`);
      refusedWith(JSON.parse(answer.slice(2 + `${id}`.length))[0], 'bad_request', JSON.stringify(name));
    }
    ws.destroy();
    assert.ok(!server.log.includes('\u001b[31mred') && !server.log.includes('a\r\nb'), 'the log is not written to by a name');
  });

  hostile('S8: a name of a megabyte: closed', async () => {
    const ws = await WebSocketByHand.connected(server, token);
    ws.text(`42["${'n'.repeat(990_000)}"]`);
    await ws.ended();
  });

  hostile('S9: an acknowledgement that nobody asked for, without an id or twice, is ignored', async () => {
    const ws = await WebSocketByHand.connected(server, token);
    for (const packet of ['43[]', '43["x"]', '430[]', '430[]', '4399[{"ok":true}]', '4318446744073709551615[]']) ws.text(packet);
    ws.binary([]); // what follows shows that the connection is read on; this shows that it is still judged
    await ws.ended();
    const alive = await WebSocketByHand.connected(server, token);
    for (const packet of ['43[]', '430[]', '430[]']) alive.text(packet);
    alive.text('421["presence:update",{"status":"away"}]');
    await alive.next((t) => t.startsWith('431['), 'the ack of a session that lives on');
    alive.destroy();
  });

  hostile('S9: an event that needs an ack and asks for none is an error, and nothing breaks', async () => {
    const ws = await WebSocketByHand.connected(server, token);
    ws.text(`42["message:history",${JSON.stringify({ roomId: room })}]`);
    const error = await ws.next((t) => t.startsWith('42["error"'));
    hasFields(JSON.parse(error.slice(2))[1], { code: 'bad_request', event: 'message:history' });
    ws.destroy();
  });

  hostile('S11: unknown namespaces are refused one by one, and a hundred thousand of them are not listened to', async () => {
    const ws = await WebSocketByHand.connected(server, token);
    for (const name of ['//', '/../', '/\u202enimda', '/__proto__']) {
      ws.text(`40${name}`);
      const answer = await ws.next((t) => t.startsWith('44/'));
      assert.equal(answer, `44${name},{"message":"Invalid namespace"}`);
    }
    for (let n = 0; n < 100_000 && !ws.tcp.closed; n += 1) ws.text(`40/n${n}`);
    await ws.ended();
  });

  hostile('S11: joining and leaving over and over comes to an end', async () => {
    const ws = await WebSocketByHand.connected(server, token);
    for (let n = 0; n < 1_000; n += 1) ws.text(n % 2 ? `40${JSON.stringify({ token })}` : '41');
    await ws.ended();
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

  hostile('S14: a character that no text may hold is refused at once, with one answer', async () => {
    const ws = await WebSocketByHand.connected(server, token);
    ws.text(`421["message:send",{"roomId":${JSON.stringify(room)},"content":"a\\u0000b"}]`);
    ws.text('422["presence:update",{"status":"away"}]');
    await ws.next((t) => t.startsWith('432['));
    const answers = ws.frames.map(({ payload }) => payload.toString()).filter((t) => t.startsWith('431['));
    assert.equal(answers.length, 1, `${answers}`);
    refusedWith(JSON.parse(answers[0].slice(3))[0], 'bad_request');
    ws.destroy();
  });

  hostile('S14: a key that is dangerous to a reader of JavaScript is kept as text, and stored as such', async () => {
    const ws = await WebSocketByHand.connected(server, token);
    const inside = '{"__proto__":{"admin":true},"constructor":{"prototype":{}}}';
    ws.text(`421["message:send",{"roomId":${JSON.stringify(room)},"content":"${saying()}","attachments":[${inside}],"__proto__":{"roomId":"x"}}]`);
    const [{ messageId, seq }] = JSON.parse((await ws.next((t) => t.startsWith('431['))).slice(3));
    ws.text(`422["message:history",{"roomId":${JSON.stringify(room)},"after":${seq - 1},"limit":1}]`);
    const page = await ws.next((t) => t.startsWith('432['));
    assert.ok(page.includes(messageId) && page.includes(`"attachments":[${inside}]`), page);
    ws.destroy();
  });

  hostile('S14: seventeen megabytes are not listened to', async () => {
    const ws = await WebSocketByHand.connected(server, token);
    for (let n = 0; n < 17 && !ws.tcp.closed; n += 1) ws.text(`42["message:send",{"roomId":"x","content":"${'x'.repeat(1_000_000)}"}]`);
    await ws.ended();
  });
});
